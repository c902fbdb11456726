//! What others do meanwhile, and devices of other kinds.

use std::collections::BTreeMap;
use std::process::Command;
use wanshift::kernel::{Host, Kernel, OpError, Scope};
use wanshift::model::names::DeviceName;
use wanshift::model::state::{Leaf, Minor, Role, Root};
use wanshift::plan::op::Op;

use crate::common::*;

#[test]
fn other_hands_are_seen() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        let ours = with_leaf(leaf(Some(0x10), "1mbit", "2mbit"), Leaf::Pfifo { limit: 5 });
        let classes = [
            (0x10, inner(None, "10mbit", "10mbit")),
            (0x11, ours.clone()),
            (0x12, ours.clone()),
            (0x13, ours.clone()),
        ];
        all_well(&host.apply(&ops_for(&device, &classes)));
        sh(
            "tc qdisc del dev wan0 parent 7a01:11 && tc qdisc add dev wan0 parent 7a01:11 pfifo limit 5",
        );
        sh("tc qdisc replace dev wan0 parent 7a01:12 handle 66: bfifo limit 5000");
        sh("tc qdisc del dev wan0 parent 7a01:13");
        sh("tc class add dev wan0 parent 7a01:10 classid 7a01:9000 htb rate 1mbit");
        sh("tc class add dev wan0 parent 7a01:9000 classid 7a01:50 htb rate 1mbit");
        let all = host.observe(Scope::All).unwrap();
        let strangers: Vec<String> = all.strangers.iter().map(ToString::to_string).collect();
        assert_eq!(
            strangers,
            [
                "device wan0: class 7a01:50 below 7a01:9000",
                "device wan0: class 7a01:9000 below 7a01:10",
            ]
        );
        let observed = tree_of(&all, &device);
        let found: BTreeMap<u16, Option<Option<Leaf>>> = observed
            .classes
            .iter()
            .map(|(minor, class)| match class.role {
                Role::Inner => (minor.get(), None),
                Role::Leaf { leaf, .. } => (minor.get(), Some(leaf)),
            })
            .collect();
        let expected = BTreeMap::from([
            (0x10, None),
            (0x11, Some(Some(Leaf::Other))),
            (0x12, Some(Some(Leaf::Other))),
            (0x13, Some(None)),
        ]);
        assert_eq!(found, expected);
        // And they are made right again.
        let to = Leaf::Pfifo { limit: 5 };
        let ops = [
            set_leaf(&device, 0x11, Some(Leaf::Other), to),
            set_leaf(&device, 0x12, Some(Leaf::Other), to),
            set_leaf(&device, 0x13, None, to),
        ];
        all_well(&host.apply(&ops));
        assert_eq!(
            tree_of(&host.observe(Scope::All).unwrap(), &device),
            tree(&classes)
        );
        // An Other that is gone meanwhile is no failure.
        sh("tc qdisc del dev wan0 parent 7a01:12");
        all_well(&host.apply(&[set_leaf(&device, 0x12, Some(Leaf::Other), to)]));
    });
}

#[test]
fn what_stands_still_is_seen_beside_what_comes_and_goes() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        let mut classes = vec![(0x10, inner(None, "10gbit", "10gbit"))];
        for number in 0x100..0x100 + 400_u16 {
            classes.push((number, leaf(Some(0x10), "8kbit", "10gbit")));
        }
        all_well(&host.apply(&ops_for(&device, &classes)));
        let expected = tree(&classes);
        // Somebody else's hand, in the same tree and the same namespace: classes that are not ours,
        // so that what is ours never changes.
        let lines: String = (0..300)
            .flat_map(|round| (0x8000..0x8020).map(move |number| (round, number)))
            .map(|(round, number)| {
                let verb = ["add", "del"][round % 2];
                let rate = ["htb rate 8kbit quantum 1514", ""][round % 2];
                format!("class {verb} dev wan0 parent 7a01:10 classid 7a01:{number:x} {rate}\n")
            })
            .collect();
        let mut batch = Command::new("tc")
            .args(["-force", "-batch", "-"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut input = batch.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || {
            use std::io::Write;
            input.write_all(lines.as_bytes()).unwrap();
        });
        let (mut reads, mut gave_up) = (0, 0);
        while batch.try_wait().unwrap().is_none() {
            match host.observe(Scope::All) {
                Ok(observed) => {
                    reads += 1;
                    assert_eq!(tree_of(&observed, &device), expected, "read {reads}");
                }
                Err(error) => {
                    gave_up += 1;
                    println!("{error}");
                }
            }
        }
        feeder.join().unwrap();
        println!("{reads} reads, {gave_up} gave up");
        assert!(reads > gave_up);
        assert_eq!(
            tree_of(&host.observe(Scope::All).unwrap(), &device),
            expected
        );
    });
}

#[test]
fn devices_of_other_kinds_are_told() {
    in_namespace(|| {
        sh("ip link add ifb7 numtxqueues 4 type ifb && ip link set ifb7 up");
        sh("ip link add 'wei$rd' type ifb");
        sh("[ -e /dev/net/tun ] || modprobe tun; ip tuntap add dev tun7 mode tun");
        let mut host = Host::open().unwrap();
        let before = host.observe(Scope::All).unwrap();
        let names: Vec<_> = before.devices.keys().map(DeviceName::as_str).collect();
        let header = |name: &str| before.devices[&name.parse::<DeviceName>().unwrap()].header;
        assert_eq!(["ifb7", "lo", "tun7"].map(header), [14, 14, 0]);
        assert_eq!(
            names,
            ["ifb7", "lo", "tun7"],
            "a name that no policy can say is left out"
        );
        // Several queues below a root of the kernel's own, which comes back after ours.
        let ifb: DeviceName = "ifb7".parse().unwrap();
        let default = Root::Default {
            kind: "mq".to_owned(),
        };
        assert_eq!(before.devices[&ifb].root, default);
        let class = with_leaf(leaf(None, "1mbit", "1mbit"), Leaf::Pfifo { limit: 9 });
        all_well(&host.apply(&ops_for(&ifb, &[(2, class.clone())])));
        assert_eq!(
            tree_of(&host.observe(Scope::All).unwrap(), &ifb),
            tree(&[(2, class)])
        );
        let gone = Op::DeleteRoot {
            device: ifb,
            major: major(),
            default: Minor::CONTROL,
        };
        all_well(&host.apply(&[gone]));
        assert_eq!(host.observe(Scope::All).unwrap(), before);
    });
}

#[test]
fn a_device_made_again_is_found_under_its_new_index() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        let class = leaf(None, "1mbit", "1mbit");
        all_well(&host.apply(&ops_for(&device, &[(2, class.clone())])));
        let before = host.observe(Scope::All).unwrap().devices[&device].index;
        sh("ip link del wan0");
        let results = host.apply(&[change(&device, 2, &class, &class)]);
        assert_eq!(
            results,
            [Err(OpError::NoDevice {
                device: device.clone()
            })]
        );
        assert!(host.observe(Scope::All).unwrap().state.trees.is_empty());
        veth();
        all_well(&host.apply(&ops_for(&device, &[(2, class.clone())])));
        let observed = host.observe(Scope::All).unwrap();
        assert_ne!(observed.devices[&device].index, before);
        assert_eq!(tree_of(&observed, &device), tree(&[(2, class)]));
    });
}
