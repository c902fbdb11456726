//! A host's life with the package, under systemd: installed, configured, upgraded under load, removed, purged.

use std::fs;

use serde_json::Value;

use crate::deb::{self, Debs};
use crate::lab::snapshot::Snapshot;
use crate::lab::{self, Lab, quiet_machine};
use crate::machine::{self, Machine};
use crate::upgrade::upgraded_under_load;

/// As an administrator without a terminal upgrades: what he changed stays.
pub const INSTALL: &str = "dpkg --force-confdef --force-confold --force-unsafe-io -i";

/// The first or the next version, in the machine.
pub fn deb(version: usize) -> String {
    format!("/srv/{}", NAMES[version])
}

const NAMES: [&str; 2] = ["first.deb", "next.deb"];

fn is_active(machine: &Machine, unit: &str) -> bool {
    machine.told(&format!("systemctl is-active {unit}")).trim() == "active"
}

pub fn property(machine: &Machine, name: &str) -> String {
    let line = format!("systemctl show --value -p {name} wanshift.service");
    machine.told(&line).trim().to_owned()
}

fn status(machine: &Machine) -> Option<Value> {
    let text = machine.told("wanshift --json status");
    let status: Value = serde_json::from_str(&text).ok()?;
    status["daemon"].is_object().then_some(status)
}

#[track_caller]
pub fn wait_for_phase(machine: &mut Machine, phase: &str) {
    machine.wait_for(phase, |machine| {
        status(machine).is_some_and(|status| {
            let is = &status["phase"];
            status["healthy"] == true && is["name"] == phase && is["shifting"].is_null()
        })
    });
}

/// What was written since, but for what every package leaves: dpkg's own records, logs, caches, and a user.
fn leftovers(
    machine: &Machine,
    before: &std::collections::BTreeMap<String, String>,
) -> Vec<String> {
    const KEPT: [&str; 5] = [
        "/var/lib/dpkg",
        "/var/log",
        "/var/cache/man",
        "/run",
        "/etc/.pwd.lock",
    ];
    const USERS: [&str; 8] = [
        "/etc/passwd",
        "/etc/passwd-",
        "/etc/group",
        "/etc/group-",
        "/etc/shadow",
        "/etc/shadow-",
        "/etc/gshadow",
        "/etc/gshadow-",
    ];
    let now = machine.written();
    let changed = now
        .iter()
        .filter(|(path, is)| before.get(*path) != Some(*is));
    let gone = before.iter().filter(|(path, _)| !now.contains_key(*path));
    changed
        .chain(gone)
        .filter(|(path, _)| {
            !USERS.contains(&path.as_str()) && !KEPT.iter().any(|kept| path.starts_with(kept))
        })
        .map(|(path, is)| format!("{path}: {is}"))
        .collect()
}

#[test]
fn a_host_installs_runs_upgrades_removes_and_purges() {
    if !(lab::ready() && machine::ready() && deb::ready()) {
        return;
    }
    let debs = Debs::shared();
    let _quiet = quiet_machine();
    let lab = Lab::new();
    let mut machine = Machine::new(&lab);
    for (file, name) in debs.files.iter().zip(NAMES) {
        fs::copy(file, machine.path("/srv").join(name)).unwrap();
    }
    let (files, kernel) = (machine.written(), Snapshot::of(lab.edge()));

    // Never used, it goes as it came.
    machine.run(&format!("{INSTALL} {}", deb(0)));
    nothing_has_begun(&machine);
    // Started all the same, it says what is missing, and writes nothing.
    machine.run("systemctl start wanshift");
    machine.wait_for("what is missing", |machine| {
        status(machine).is_some_and(|status| {
            status["healthy"] == false && status["problems"].to_string().contains("host.toml")
        })
    });
    kernel.assert_same(&Snapshot::of(lab.edge()));
    machine.run("dpkg --purge wanshift");
    assert_eq!(leftovers(&machine, &files), [""; 0], "after a first purge");

    machine.run(&format!("{INSTALL} {}", deb(0)));
    nothing_has_begun(&machine);
    as_it_was_packed(&machine);
    a_policy_is_written_and_held(&mut machine);
    upgraded_under_load(&lab, &mut machine);

    // What an administrator stopped an upgrade does not start.
    let held = Snapshot::of(lab.edge());
    machine.run("systemctl stop wanshift");
    machine.run(&format!("{INSTALL} {}", deb(1)));
    assert!(!is_active(&machine, "wanshift.service"));
    held.assert_same(&Snapshot::of(lab.edge()));
    machine.run("systemctl start wanshift");
    wait_for_phase(&mut machine, "telework");

    it_comes_back_at_boot(&lab, &mut machine);

    // Removed, it leaves the kernel, and keeps what was written.
    machine.run("dpkg --remove wanshift");
    kernel.assert_same(&Snapshot::of(lab.edge()));
    assert!(!is_active(&machine, "wanshift.service"));
    assert!(!is_active(&machine, "wanshift.socket"));
    assert!(!machine.path("/usr/bin/wanshift").exists());
    assert!(!machine.path("/run/wanshift").exists());
    for kept in [
        "/etc/default/wanshift",
        "/etc/wanshift/host.toml",
        "/var/lib/wanshift/wanshift.db",
    ] {
        assert!(machine.path(kept).exists(), "{kept} is gone");
    }

    // Installed again, what was taken out waits for a word.
    machine.run(&format!("{INSTALL} {}", deb(1)));
    assert_eq!(machine.told("systemctl is-enabled wanshift"), "enabled\n");
    machine.run("systemctl start wanshift");
    wait_for_phase(&mut machine, "telework");
    kernel.assert_same(&Snapshot::of(lab.edge()));
    machine.run("wanshift apply");
    holds_telework(&lab);

    // Of what its units take away it has asked for nothing.
    let refused = machine.told("journalctl --no-pager | grep -iE 'not permitted|denied|SIGSYS'");
    assert_eq!(refused, "");

    // Purged, it is gone but for what is not the package's.
    machine.run("dpkg --purge wanshift");
    kernel.assert_same(&Snapshot::of(lab.edge()));
    let user = machine.run("getent passwd wanshift");
    assert!(
        user.contains(":/var/lib/wanshift:/usr/sbin/nologin"),
        "{user}"
    );
    let policy = leftovers(&machine, &files);
    assert!(
        policy.len() == 5 && policy.iter().all(|path| path.starts_with("/etc/wanshift")),
        "{policy:#?}"
    );
    machine.run("rm -r /etc/wanshift");
    assert_eq!(leftovers(&machine, &files), [""; 0], "after the purge");
}

/// Without a network of this machine's own: what the kernel held is taken away, as a reboot does.
fn it_comes_back_at_boot(lab: &Lab, machine: &mut Machine) {
    machine.cut_off();
    let edge = lab.edge();
    edge.run("nft", &["delete", "table", "inet", "wanshift"]);
    for device in ["wan0", "mpls0"] {
        edge.run("tc", &["qdisc", "del", "dev", device, "root"]);
    }
    edge.run("ip", &["link", "del", "wanshift-down"]);
    machine.boot();
    wait_for_phase(machine, "telework");
    let blocked = machine.run("journalctl -u wanshift-blocks --output=cat --no-pager");
    assert!(
        blocked.contains("Blocked again: browsing-in-session"),
        "{blocked}"
    );
    // Before there is a network, and before the daemon.
    let at = |unit: &str, name: &str| -> u64 {
        let line = format!("systemctl show --value -p {name}TimestampMonotonic {unit}");
        let text = machine.told(&line);
        let moment = text.trim().parse().unwrap();
        assert!(moment > 0, "{unit} has not come");
        moment
    };
    let blocks = at("wanshift-blocks.service", "ActiveEnter");
    assert!(blocks <= at("network-pre.target", "ActiveEnter"));
    assert!(blocks <= at("wanshift.service", "InactiveExit"));
    holds_telework(lab);
}

/// The kernel blocks and shapes as that phase says.
pub fn holds_telework(lab: &Lab) {
    let edge = lab.edge();
    let rules = edge.run("nft", &["list", "table", "inet", "wanshift"]);
    assert!(rules.contains("chain block.browsing-in-session"), "{rules}");
    let classes = edge.run("tc", &["class", "show", "dev", "wan0"]);
    assert!(classes.contains("rate 220Mbit"), "{classes}");
}

fn nothing_has_begun(machine: &Machine) {
    for unit in ["wanshift.service", "wanshift-blocks.service"] {
        assert!(!is_active(machine, unit), "{unit} runs");
        let enabled = machine.told(&format!("systemctl is-enabled {unit}"));
        assert_eq!(enabled, "disabled\n", "{unit}");
    }
    assert!(!is_active(machine, "wanshift.socket"));
}

fn as_it_was_packed(machine: &Machine) {
    assert_eq!(machine.run("dpkg --verify wanshift"), "");
    let mut units = machine
        .run("systemd-analyze verify wanshift.service wanshift.socket wanshift-blocks.service");
    // Of units that are this machine's own.
    units = units
        .lines()
        .filter(|line| line.contains("wanshift"))
        .collect();
    assert_eq!(units, "");
    let examples = machine.run("ls /usr/share/doc/wanshift/examples");
    for example in examples.split_whitespace() {
        // Anybody may look.
        machine.run(&format!(
            "setpriv --reuid=65534 --regid=65534 --clear-groups \
             wanshift check /usr/share/doc/wanshift/examples/{example}"
        ));
    }
}

fn a_policy_is_written_and_held(machine: &mut Machine) {
    machine.run("cp -r /usr/share/doc/wanshift/examples/cd77/. /etc/wanshift/");
    machine.run("sed -i 's/^ramp = .*/ramp = \"1s\"/' /etc/wanshift/policy.d/20-telework.toml");
    machine.run("wanshift check");
    machine.run("systemctl enable --now wanshift");
    machine.run("systemctl reload wanshift");
    assert!(is_active(machine, "wanshift-blocks.service"));
    wait_for_phase(machine, "nominal");
    // Who may.
    let stranger = "setpriv --reuid=65534 --regid=65534 --clear-groups wanshift";
    let refused = machine.try_run(&format!("{stranger} phase telework"));
    assert_eq!(refused.status.code(), Some(1));
    machine.run(&format!("{stranger} status"));
    machine.run(
        "setpriv --reuid=65534 --regid=65534 --groups=$(getent group wanshift | cut -d: -f3) \
         wanshift phase telework --confirm-within 10m && wanshift confirm",
    );
    wait_for_phase(machine, "telework");
    let pid = property(machine, "MainPID");
    let rights = machine.run(&format!(
        "ps -o user= -p {pid}; grep -E 'CapEff|CapBnd|Seccomp:' /proc/{pid}/status"
    ));
    let rights: Vec<&str> = rights.split_whitespace().collect();
    assert_eq!(
        rights,
        [
            "wanshift",
            "CapEff:",
            "0000000000001000",
            "CapBnd:",
            "0000000000001000",
            "Seccomp:",
            "2"
        ]
    );
    assert_eq!(
        machine.run("stat -c '%a %U:%G' /var/lib/wanshift /run/wanshift /etc/wanshift"),
        "700 wanshift:wanshift\n755 wanshift:wanshift\n755 root:root\n"
    );
    assert_eq!(
        machine
            .run("stat -c '%a %U:%G' /run/wanshift/wanshift.sock /run/wanshift/wanshift.sock.read"),
        "660 wanshift:wanshift\n666 wanshift:wanshift\n"
    );
}
