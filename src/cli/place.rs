//! Where a verb finds what it works on.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Uid, User};

use super::Global;
use crate::api::{Failure, Talk};
use crate::units::duration;

/// Where what must outlive a restart is kept, where nobody says otherwise.
const STATE: &str = "/var/lib/wanshift";
/// Where a daemon listens, where nobody says otherwise.
const SOCKET: &str = "/run/wanshift/wanshift.sock";

/// The state directory: the flag's, else what the host's file says, also where the policy does not load; else the
/// usual one.
pub fn state(global: &Global) -> Result<PathBuf, Failure> {
    match &global.state {
        Some(state) => Ok(state.clone()),
        None => Ok(setting(global, "state")?.unwrap_or_else(|| STATE.into())),
    }
}

/// The same; where the host's file cannot be read, the usual one, and that is said: a host on its way up has nobody
/// to ask.
pub fn state_or_usual(global: &Global, talk: &mut dyn Talk) -> PathBuf {
    state(global).unwrap_or_else(|failure| {
        talk.say(&format!("note: {failure}; going on with {STATE}"));
        STATE.into()
    })
}

/// Where the daemon listens, likewise.
pub fn socket(global: &Global) -> Result<PathBuf, Failure> {
    match &global.socket {
        Some(socket) => Ok(socket.clone()),
        None => Ok(setting(global, "socket")?.unwrap_or_else(|| SOCKET.into())),
    }
}

/// A path among the daemon's settings in the host's file.
fn setting(global: &Global, name: &str) -> Result<Option<PathBuf>, Failure> {
    let file: &Path = &global.config().join("host.toml");
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(format!(
                "{}: {error}; name the state directory with --state and the daemon's socket with --socket",
                file.display()
            )
            .into());
        }
    };
    let host: toml::Table = text.parse().map_err(|_| {
        format!(
            "{} cannot be read; name the state directory with --state and the daemon's socket with --socket",
            file.display()
        )
    })?;
    let daemon = host.get("daemon").and_then(|daemon| daemon.get(name));
    Ok(daemon.and_then(toml::Value::as_str).map(PathBuf::from))
}

/// The present user, and who stands behind him.
pub fn actor() -> String {
    let uid = Uid::current();
    let name = User::from_uid(uid)
        .ok()
        .flatten()
        .map_or_else(|| uid.to_string(), |user| user.name);
    match behind() {
        Some(user) => format!("{name} (sudo: {user})"),
        None => name,
    }
}

/// Who called `sudo`.
pub fn behind() -> Option<String> {
    std::env::var("SUDO_USER")
        .ok()
        .filter(|user| !user.is_empty())
}

/// What a daemon is named by to others that want the lock.
pub const DAEMON: &str = "run";

/// Whether a holder of the lock is a daemon.
pub fn is_daemon(holder: &str) -> bool {
    holder.starts_with(&named(DAEMON))
}

fn named(what: &str) -> String {
    format!("`wanshift {what}`")
}

/// How the holder of the lock is named to others.
pub fn holder(what: &str) -> String {
    format!(
        "{} by {}, process {}",
        named(what),
        actor(),
        std::process::id()
    )
}

/// A time such as `90s`, `10m`, `1h30m`, at least a second, as an argument.
pub fn time(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(time) if time >= Duration::from_secs(1) => Ok(time),
        Ok(_) => Err(format!("`{text}` is too short; write at least \"1s\"")),
        Err(error) => Err(error.to_string()),
    }
}
