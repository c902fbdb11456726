//! A VLAN that maps priorities to its own is refused: it would take our class ids for priorities.

use std::os::unix::fs::PermissionsExt;

use crate::flow::{come_up, ip};
use crate::host::{ALWAYS, one_circuit};
use crate::lab::snapshot::Snapshot;
use crate::lab::{Lab, ready};

/// Runs the program, which must refuse. Returns what it says.
#[track_caller]
fn refused(lab: &Lab, host: &str, verb: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (config, state) = (
        directory.path().join("config"),
        directory.path().join("state"),
    );
    std::fs::create_dir_all(config.join("policy.d")).unwrap();
    for (file, text) in [("host.toml", host), ("policy.d/policy.toml", ALWAYS)] {
        let path = config.join(file);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let output = lab.edge().try_run(
        env!("CARGO_BIN_EXE_wanshift"),
        &[
            "--config",
            config.to_str().unwrap(),
            "--state",
            state.to_str().unwrap(),
            verb,
        ],
    );
    assert_eq!(output.status.code(), Some(1), "{verb}: {output:?}");
    String::from_utf8(output.stderr)
        .unwrap()
        .replace("\n    ", " ")
}

#[test]
#[ignore = "run by scripts/test on a stock kernel"]
fn stock_a_vlan_that_maps_priorities_is_refused() {
    assert!(ready());
    let lab = Lab::new();
    ip(
        lab.edge(),
        "link add link wan0 name wan0.10 type vlan id 10 egress-qos-map 0:3\n\
         link add link wan0 name wan0.20 type vlan id 20 ingress-qos-map 3:3\n\
         link add link wan0.10 name vmac0 type macvlan\n\
         link set wan0.10 up\nlink set wan0.20 up\nlink set vmac0 up\n",
    );
    come_up(lab.edge());
    let before = Snapshot::of(lab.edge());
    let on = |device: &str, more: &str| {
        one_circuit("10mbit", more).replace("\"wan0\"", &format!("\"{device}\""))
    };
    for (host, verbs) in [
        (on("wan0.10", ""), &["plan", "apply"][..]),
        (on("wan0.20", "also = [\"wan0.10\"]"), &["apply"]),
        // The priority goes on into what the device stands on.
        (on("vmac0", ""), &["apply"]),
    ] {
        for verb in verbs {
            let said = refused(&lab, &host, verb);
            let reason = said.contains("egress-qos-map") && said.contains("`wan0.10`");
            assert!(reason, "{verb}: {said}");
        }
    }
    before.assert_same(&Snapshot::of(lab.edge()));
}
