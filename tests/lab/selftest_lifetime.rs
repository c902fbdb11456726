//! Part of the lab's own tests: whatever ends a lab, nothing of it is left.

use std::time::Duration;

use crate::lab::time::SECOND;
use crate::lab::{Lab, now, ready, sleep};

/// The children's side of the next test: prints the inodes of a lab's namespaces, and stands still
/// with a process in it.
#[test]
#[ignore = "run by a_killed_process_leaves_nothing"]
fn stands_until_killed() {
    let lab = Lab::new();
    let mut command = lab.edge().command("sleep");
    command.arg("1000");
    let _sleeping = lab.edge().spawn(command);
    let inodes: Vec<String> = lab.all().iter().map(|ns| ns.inode().to_string()).collect();
    println!("\ninodes {}", inodes.join(" "));
    sleep(Duration::from_secs(1000));
}

#[test]
fn a_killed_process_leaves_nothing() {
    use std::io::BufRead;
    if !ready() {
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "lifetime::stands_until_killed",
            "--nocapture",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let inodes: Vec<String> = lines
        .map(|line| line.unwrap())
        .find_map(|line| {
            Some(
                line.strip_prefix("inodes ")?
                    .split(' ')
                    .map(Into::into)
                    .collect(),
            )
        })
        .expect("the child's inodes");
    assert_eq!(inodes.len(), 6);
    assert!(holders(&inodes) > 0, "the search finds what is there");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until_unheld(&inodes);
}

#[test]
fn a_dropped_lab_leaves_nothing() {
    if !ready() {
        return;
    }
    let lab = Lab::new();
    let inodes: Vec<String> = lab.all().iter().map(|ns| ns.inode().to_string()).collect();
    let mut command = lab.edge().command("sleep");
    command.arg("1000");
    let sleeping = lab.edge().spawn(command);
    assert!(holders(&inodes) > 6);
    drop((lab, sleeping));
    wait_until_unheld(&inodes);
    let panicked = std::panic::catch_unwind(|| {
        let lab = Lab::new();
        let inode = lab.edge().inode();
        // Unwinds like a failed assertion, and prints nothing that looks like one.
        std::panic::resume_unwind(Box::new(inode.to_string()));
    });
    let inode = *panicked.unwrap_err().downcast::<String>().unwrap();
    wait_until_unheld(&[inode]);
}

/// How many threads, descriptors and mounts hold one of these namespaces, machine-wide.
fn holders(inodes: &[String]) -> usize {
    let wanted: Vec<String> = inodes
        .iter()
        .map(|inode| format!("net:[{inode}]"))
        .collect();
    let held = |link: std::path::PathBuf| {
        let target = std::fs::read_link(link).unwrap_or_default();
        wanted.iter().any(|one| target.to_str() == Some(one))
    };
    let list = |path: std::path::PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut count = 0;
    for process in list("/proc".into()) {
        if !process.file_name().as_encoded_bytes()[0].is_ascii_digit() {
            continue;
        }
        for thread in list(process.path().join("task")) {
            count += usize::from(held(thread.path().join("ns/net")));
        }
        for descriptor in list(process.path().join("fd")) {
            count += usize::from(held(descriptor.path()));
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    count + wanted.iter().filter(|one| mounts.contains(*one)).count()
}

#[track_caller]
fn wait_until_unheld(inodes: &[String]) {
    let deadline = now() + 5 * SECOND;
    while holders(inodes) > 0 {
        assert!(now() < deadline, "{} holders are left", holders(inodes));
        sleep(Duration::from_millis(20));
    }
}
