//! The next version, installed while both circuits are full: no packet is lost, and nothing is written to the kernel.

use std::fs;
use std::io::{Read, Write};
use std::time::Duration;

use crate::deb::{NEXT_DEFAULT, NEXT_DESCRIPTION, VERSIONS};
use crate::lab::address::*;
use crate::lab::bulk::Bulk;
use crate::lab::paced::Paced;
use crate::lab::snapshot::Snapshot;
use crate::lab::{Lab, sleep};
use crate::life::{INSTALL, deb, holds_telework, property, wait_for_phase};
use crate::machine::Machine;

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

pub fn upgraded_under_load(lab: &Lab, machine: &mut Machine) {
    assert!(healthy(lab));
    machine.run("echo WANSHIFT_LOG=debug >>/etc/default/wanshift");
    holds_telework(lab);
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
