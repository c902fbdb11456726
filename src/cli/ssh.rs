//! The ssh session that a verb is run from.
//!
//! Which way its replies go is asked without any VRF or packet mark that sshd's socket may be bound to.

use std::path::{Path, PathBuf};

use nix::unistd::getppid;

use crate::model::session::Session;

/// Where sshd tells a session who is at its other end.
const VARIABLE: &str = "SSH_CONNECTION";
/// No shell is so deep: a bound, since processes come and go while they are asked.
const DEEPEST: usize = 64;
/// Where there is an answer to which process started which.
const PROCESSES: &str = "/proc";

/// The session that this process belongs to: by its own environment, else (`sudo` passes little of it on) by
/// that of the nearest of those that started it. What is no session there is passed over.
pub fn present() -> Option<Session> {
    let own = std::env::var(VARIABLE).ok();
    own.and_then(|text| text.parse().ok())
        .or_else(|| of_ancestors(Path::new(PROCESSES), getppid().as_raw()))
}

fn of_ancestors(processes: &Path, first: i32) -> Option<Session> {
    let mut process = first;
    for _ in 0..DEEPEST {
        // Nobody started the first one; and in a container, who started it is outside.
        if process <= 1 {
            return None;
        }
        let directory: PathBuf = processes.join(process.to_string());
        // Not to be read where it is another user's, and this is not root: the next may tell.
        let environment = std::fs::read(directory.join("environ")).unwrap_or_default();
        if let Some(session) = in_environment(&environment) {
            return Some(session);
        }
        process = parent(&std::fs::read_to_string(directory.join("stat")).ok()?)?;
    }
    None
}

/// The session in a process's environment, as it was started with.
fn in_environment(environment: &[u8]) -> Option<Session> {
    environment
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok()?.split_once('='))
        .find_map(|(name, value)| (name == VARIABLE).then(|| value.parse().ok()).flatten())
}

/// The parent in a process's `stat`, behind its name, which is in parentheses and may hold anything.
fn parent(stat: &str) -> Option<i32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process with that parent and that environment.
    fn process(processes: &Path, number: i32, parent: i32, environment: &str) {
        let directory = processes.join(number.to_string());
        std::fs::create_dir(&directory).unwrap();
        let stat = format!("{number} (a ) S 1 (sh) S {parent} 7 7 0");
        std::fs::write(directory.join("stat"), stat).unwrap();
        std::fs::write(directory.join("environ"), environment).unwrap();
    }

    #[test]
    fn the_nearest_ancestor_that_tells_a_session_is_believed() {
        let processes = tempfile::tempdir().unwrap();
        let root = processes.path();
        let told =
            |client: &str| format!("TERM=x\0SSH_CONNECTION={client} 1 192.0.2.1 22\0HOME=/\0");
        process(root, 40, 30, "TERM=x\0");
        process(
            root,
            30,
            20,
            "SSH_CONNECTION=UNKNOWN\0NOSSH_CONNECTION=1 2 3 4\0",
        );
        process(root, 20, 10, &told("198.51.100.7"));
        process(root, 10, 1, &told("198.51.100.8"));
        process(root, 1, 0, &told("198.51.100.9"));
        let client = |first| of_ancestors(root, first).map(|session| session.client.to_string());
        assert_eq!(client(40).as_deref(), Some("198.51.100.7"));
        assert_eq!(client(10).as_deref(), Some("198.51.100.8"));
        assert_eq!(client(1), None);
        assert_eq!(client(50), None);
        // One whose parent is gone, and one that is its own.
        process(root, 60, 70, "");
        process(root, 80, 80, "");
        assert_eq!((client(60), client(80)), (None, None));
    }
}
