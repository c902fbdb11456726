//! A host's life with the package, under systemd: installed, configured, upgraded under load, removed, purged.

use std::fs;
use std::io::{Read, Write};
use std::time::Duration;

use serde_json::Value;

use crate::deb::{self, Debs, NEXT_DEFAULT, NEXT_DESCRIPTION, VERSIONS};
use crate::lab::address::*;
use crate::lab::bulk::Bulk;
use crate::lab::paced::Paced;
use crate::lab::snapshot::Snapshot;
use crate::lab::{self, Lab, quiet_machine, sleep};
use crate::machine::{self, Machine};

/// As an administrator without a terminal upgrades: what he changed stays.
const INSTALL: &str = "dpkg --force-confdef --force-confold --force-unsafe-io -i";

/// The first or the next version, in the machine.
fn deb(version: usize) -> String {
    format!("/srv/{}", NAMES[version])
}

const NAMES: [&str; 2] = ["first.deb", "next.deb"];

fn is_active(machine: &Machine, unit: &str) -> bool {
    machine.told(&format!("systemctl is-active {unit}")).trim() == "active"
}

fn property(machine: &Machine, name: &str) -> String {
    let line = format!("systemctl show --value -p {name} wanshift.service");
    machine.told(&line).trim().to_owned()
}

fn status(machine: &Machine) -> Option<Value> {
    let text = machine.told("wanshift --json status");
    let status: Value = serde_json::from_str(&text).ok()?;
    status["daemon"].is_object().then_some(status)
}

#[track_caller]
fn wait_for_phase(machine: &mut Machine, phase: &str) {
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

    // Installed again, all is as it was.
    machine.run(&format!("{INSTALL} {}", deb(1)));
    assert_eq!(machine.told("systemctl is-enabled wanshift"), "enabled\n");
    machine.run("systemctl start wanshift");
    wait_for_phase(&mut machine, "telework");

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
    assert_eq!(
        machine.run("man -w wanshift-condition-reset"),
        "/usr/share/man/man1/wanshift-condition-reset.1.gz\n"
    );
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

fn healthy(lab: &Lab) -> bool {
    let answer = lab.edge().make(|| {
        let mut stream = std::net::TcpStream::connect("127.0.0.1:9817").ok()?;
        let ask = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(ask.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    });
    answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn upgraded_under_load(lab: &Lab, machine: &mut Machine) {
    assert!(healthy(lab));
    machine.run("echo WANSHIFT_LOG=debug >>/etc/default/wanshift");
    let held = Snapshot::of(lab.edge());
    let pid = property(machine, "MainPID");
    let (desk, web) = ((lab.datacentre(), OPERATIONS), (lab.internet(), WEB));
    let bulk = Bulk::tcp(
        (lab.datacentre(), SESSION_HOST),
        (lab.provider(), PROVIDER),
        445,
    )
    .connections(4)
    .start();
    let full = Bulk::tcp((lab.datacentre(), GATEWAY), web, 9000)
        .connections(4)
        .start();
    let help = Paced::new(desk, web, 9001).start();
    let site = Paced::new(
        (lab.datacentre(), SESSION_HOST),
        (lab.provins(), PROVINS),
        9002,
    )
    .start();
    sleep(Duration::from_secs(1));
    // Whoever writes is heard.
    machine.run(
        "for of in nft tc; do \
             (exec setsid stdbuf -oL $of monitor >/run/heard.$of 2>&1 </dev/null & echo $! >/run/hears.$of); \
         done; sleep 0.3",
    );

    let told = machine.run(&format!("{INSTALL} {}", deb(1)));
    assert!(told.contains(&format!("({})", VERSIONS[1])), "{told}");
    wait_for_phase(machine, "telework");
    machine.wait_for("its metrics", |_| healthy(lab));
    sleep(Duration::from_secs(1));

    let heard = machine.run("cat /run/heard.*");
    machine.run(
        "nft add table ip heard && nft delete table ip heard && \
         tc qdisc add dev lo root pfifo && tc qdisc del dev lo root && \
         sleep 0.3 && kill $(cat /run/hears.*) && \
         grep -q heard /run/heard.nft && grep -q pfifo /run/heard.tc",
    );
    for (flow, report) in [("help desk", help.stop()), ("site", site.stop())] {
        eprintln!("{flow}: {report}");
        assert!(report.sent.len() > 2000, "{flow}: {report}");
        assert_eq!(
            (report.lost(), report.reordered(), report.duplicated()),
            (0, 0, 0),
            "{flow}: {report}"
        );
    }
    let moved = bulk.stop().all.total() + full.stop().all.total();
    assert!(moved > 10_000_000, "{moved} bytes of bulk: no load");
    assert_eq!(heard, "", "written during the upgrade");
    held.assert_same(&Snapshot::of(lab.edge()));

    // It is the new one that runs.
    let version = machine.run("dpkg-query -W -f '${Version}' wanshift");
    assert_eq!(version, VERSIONS[1]);
    let after = property(machine, "MainPID");
    assert_ne!(pid, after);
    let program = machine.run(&format!("readlink /proc/{after}/exe"));
    assert_eq!(program, "/usr/bin/wanshift\n");
    assert_eq!(property(machine, "Description"), NEXT_DESCRIPTION);
    assert_eq!(property(machine, "NeedDaemonReload"), "no");
    // What was edited stays, and counts; what is new lies beside it.
    let read = |path| fs::read_to_string(machine.path(path)).unwrap();
    assert!(read("/etc/default/wanshift").ends_with("\nWANSHIFT_LOG=debug\n"));
    assert!(read("/etc/default/wanshift.dpkg-dist").ends_with(NEXT_DEFAULT));
    let environment = machine.run(&format!("tr '\\0' '\\n' </proc/{after}/environ"));
    assert!(environment.contains("WANSHIFT_LOG=debug"), "{environment}");
}
