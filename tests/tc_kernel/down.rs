//! The IFB, how packets find their class in its tree, and what leads them there: written, read back,
//! tampered with, and taken away without a trace.

use wanshift::kernel::{Host, Kernel, OpError, Scope};
use wanshift::model::circuit::MarkMask;
use wanshift::model::names::DeviceName;
use wanshift::model::state::{Clsact, Edge, Feed, Ifb, Leaf, Root, Selector, Takes};
use wanshift::plan::op::Op;

use crate::common::*;

pub fn ifb() -> DeviceName {
    Ifb::NAME.parse().unwrap()
}

pub fn add_ifb() -> Op {
    Op::AddIfb { device: ifb() }
}

pub fn delete_ifb() -> Op {
    Op::DeleteIfb { device: ifb() }
}

pub fn set_selector(from: Selector, to: Selector) -> Op {
    Op::SetSelector {
        device: ifb(),
        major: major(),
        from,
        to,
    }
}

pub fn feed(clsact: Clsact, mask: u32) -> Option<Feed> {
    let takes = Takes::Marked(MarkMask::new(mask).unwrap());
    Some(Feed { clsact, takes })
}

pub fn set_feed(device: &DeviceName, from: Option<Feed>, to: Option<Feed>) -> Op {
    Op::SetFeed {
        device: device.clone(),
        from,
        to,
    }
}

fn mark(mask: u32) -> Selector {
    Selector::Mark(MarkMask::new(mask).unwrap())
}

const UPPER: u32 = 0xffff_0000;
const LOWER: u32 = 0x0000_ffff;

/// A veth that stands still: with its carrier, and without the addresses that come by and by.
fn still() -> DeviceName {
    let device = veth();
    sh("sysctl -qw net.ipv6.conf.wan0.disable_ipv6=1 net.ipv6.conf.far0.disable_ipv6=1");
    for _ in 0..250 {
        if !sh("ip link").contains("NO-CARRIER") && !sh("ip link").contains("LOWERLAYERDOWN") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    device
}

/// All that is to be as it was.
fn trace() -> String {
    sh(
        "ip -d link; ip addr; ip -6 route show table all; tc qdisc show; \
        for device in wan0 far0; do tc filter show dev $device ingress; \
        tc filter show dev $device egress; done",
    )
}

fn seen(host: &mut Host) -> wanshift::model::state::Observed {
    host.observe(Scope::Shaping).unwrap()
}

fn errno(result: &Result<(), OpError>) -> i32 {
    match result {
        Err(OpError::Refused { errno, .. }) => *errno,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_ifb_is_made_and_raised_and_leaves_no_trace() {
    in_namespace(|| {
        still();
        let before = trace();
        let mut host = Host::open().unwrap();
        assert_eq!(seen(&mut host).state.ifb, None);
        all_well(&host.apply(&[add_ifb()]));
        let observed = seen(&mut host);
        assert_eq!(observed.state.ifb, Some(Ifb { up: true }));
        let device = &observed.devices[&ifb()];
        assert_eq!(
            (device.kind.as_str(), device.up, device.lower),
            ("ifb", true, None)
        );
        assert!(matches!(device.root, Root::Default { .. }));
        // Nothing that the host would talk by.
        assert_eq!(sh("ip -o addr show dev wanshift-down"), "");

        sh("ip link set wanshift-down down");
        assert_eq!(seen(&mut host).state.ifb, Some(Ifb { up: false }));
        all_well(&host.apply(&[Op::RaiseIfb { device: ifb() }]));
        assert_eq!(seen(&mut host).state.ifb, Some(Ifb { up: true }));
        assert_eq!(errno(&host.apply(&[add_ifb()])[0]), nix::libc::EEXIST);

        all_well(&host.apply(&[delete_ifb()]));
        assert_eq!(seen(&mut host).state.ifb, None);
        assert_eq!(trace(), before);
        let gone = Err(OpError::NoDevice { device: ifb() });
        let raise = Op::RaiseIfb { device: ifb() };
        assert_eq!(host.apply(&[delete_ifb(), raise]), [gone.clone(), gone]);
    });
}

#[test]
fn a_device_of_the_ifbs_name_that_is_none_is_left_alone() {
    in_namespace(|| {
        sh("ip link add wanshift-down type veth peer name far1");
        let mut host = Host::open().unwrap();
        let before = sh("ip -d link");
        let ops = [add_ifb(), Op::RaiseIfb { device: ifb() }, delete_ifb()];
        let results = host.apply(&ops);
        let numbers: Vec<_> = results.iter().map(errno).collect();
        use nix::libc::{EEXIST, EINVAL};
        assert_eq!(numbers, [EEXIST, EINVAL, EINVAL]);
        assert_eq!(sh("ip -d link"), before);
        assert_eq!(seen(&mut host).state.ifb, None);
        // Nor is one that goes by the name beside its own.
        sh("ip link del wanshift-down; ip link add other0 type ifb; \
            ip link property add dev other0 altname wanshift-down");
        let gone = Err(OpError::NoDevice { device: ifb() });
        assert_eq!(host.apply(&[delete_ifb()]), [gone]);
    });
}

#[test]
fn what_a_device_is_and_stands_on_is_told() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        sh("ip link set wan0 down");
        let observed = seen(&mut host);
        let wan = &observed.devices[&device];
        // Its peer is not what it stands on.
        assert_eq!(
            (wan.kind.as_str(), wan.lower, wan.up),
            ("veth", None, false)
        );
        assert_eq!((wan.priority_map, wan.edge), (false, Edge::None));
        sh("tc qdisc add dev wan0 clsact; tc qdisc add dev far0 ingress");
        let observed = seen(&mut host);
        assert_eq!(observed.devices[&device].edge, Edge::Clsact);
        assert_eq!(
            observed.devices[&"far0".parse().unwrap()].edge,
            Edge::Ingress
        );
    });
}

#[test]
#[ignore = "wants a kernel with VLANs: scripts/stock-kernel"]
fn stock_a_vlan_tells_its_map_and_what_it_stands_on() {
    in_namespace(|| {
        let device = veth();
        sh("ip link add link wan0 name wan0.5 type vlan id 5");
        sh("ip link add link wan0 name wan0.6 type vlan id 6 egress-qos-map 1:2");
        let mut host = Host::open().unwrap();
        let observed = seen(&mut host);
        let below = Some(observed.devices[&device].index);
        for (name, maps) in [("wan0.5", false), ("wan0.6", true)] {
            let vlan = &observed.devices[&name.parse().unwrap()];
            assert_eq!(
                (vlan.kind.as_str(), vlan.lower, vlan.priority_map),
                ("vlan", below, maps)
            );
        }
    });
}

/// An IFB with a class for each of these minors.
pub fn down_tree(minors: &[u16]) -> Vec<Op> {
    let class = with_leaf(leaf(None, "10mbit", "100mbit"), Leaf::Pfifo { limit: 100 });
    let classes: Vec<_> = minors.iter().map(|minor| (*minor, class.clone())).collect();
    let mut ops = vec![add_ifb()];
    ops.extend(ops_for(&ifb(), &classes));
    ops
}

#[test]
fn a_selector_is_written_changed_and_taken_away() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        // All in one go: the device is there by the time that its tree is sent.
        let mut ops = down_tree(&[2]);
        ops.push(set_selector(Selector::Priority, mark(UPPER)));
        all_well(&host.apply(&ops));
        let selector = |host: &mut Host| tree_of(&seen(host), &ifb()).selector;
        assert_eq!(selector(&mut host), mark(UPPER));
        let text = || sh("tc filter show dev wanshift-down parent 7a01:");
        assert!(
            text().contains(
                "pref 1 bpf chain 0 handle 0x1 not_in_hw bytecode \
                 '5,32 0 0 4294963220,116 0 0 16,21 1 0 0,68 0 0 2046885888,22 0 0 0'"
            ),
            "{}",
            text()
        );
        let mut held = mark(UPPER);
        for mask in [LOWER, 0x00ff_ff00, u32::MAX, 0x3, 0xc000_0000, 0x7fff_ffff] {
            all_well(&host.apply(&[set_selector(held, mark(mask))]));
            held = mark(mask);
            assert_eq!(selector(&mut host), held, "{mask:x}");
        }
        // Somebody else's beside it, before or behind, are not looked at, and stay.
        let own = text();
        let others = "tc filter add dev wanshift-down parent 7a01: protocol ip";
        sh(&format!("{others} pref 7 u32 match u32 0 0 classid 7a01:2"));
        assert_eq!(selector(&mut host), held);
        for bent in [
            "bytecode '1,6 0 0 0'",
            "bytecode '5,32 0 0 4294963220,116 0 0 16,21 1 0 0,68 0 0 2046885889,22 0 0 0'",
            "bytecode '5,32 0 0 4294963220,116 0 0 16,21 1 0 0,68 0 0 2046885888,22 0 0 0' classid 7a01:2",
            "bytecode '5,32 0 0 4294963220,116 0 0 16,21 1 0 0,68 0 0 2046885888,22 0 0 0' \
             action mirred egress mirror dev lo",
        ] {
            let place = "dev wanshift-down parent 7a01: pref 1 handle 1 protocol all";
            sh(&format!("tc filter change {place} bpf {bent}"));
            assert_eq!(selector(&mut host), Selector::Drifted, "{bent}");
            let refused = host.apply(&[set_selector(Selector::Drifted, Selector::Drifted)]);
            assert_eq!(errno(&refused[0]), nix::libc::EINVAL);
            all_well(&host.apply(&[set_selector(Selector::Drifted, held)]));
            assert_eq!(selector(&mut host), held);
        }
        let with_others = text();
        all_well(&host.apply(&[set_selector(held, Selector::Priority)]));
        assert_eq!(selector(&mut host), Selector::Priority);
        assert!(
            text().contains("u32") && !text().contains("bpf"),
            "{}",
            text()
        );
        assert!(with_others.starts_with(&own));
        // What is gone may be taken away again; what is there may not be added.
        all_well(&host.apply(&[set_selector(held, Selector::Priority)]));
        all_well(&host.apply(&[set_selector(Selector::Priority, held)]));
        let again = host.apply(&[set_selector(Selector::Priority, held)]);
        assert_eq!(errno(&again[0]), nix::libc::EEXIST);
        // No tree but the IFB's goes by the mark.
        all_well(&host.apply(&ops_for(&device, &[(2, leaf(None, "1mbit", "1mbit"))])));
        let results = host.apply(&[Op::SetSelector {
            device,
            major: major(),
            from: Selector::Priority,
            to: held,
        }]);
        assert_eq!(errno(&results[0]), nix::libc::EINVAL);
    });
}

fn feed_of(host: &mut Host, device: &DeviceName) -> Option<Feed> {
    seen(host).state.feeds.get(device).copied()
}

#[test]
fn a_feed_of_ours_comes_and_goes_with_its_clsact() {
    in_namespace(|| {
        let device = still();
        let before = trace();
        let mut host = Host::open().unwrap();
        let (upper, lower) = (feed(Clsact::Ours, UPPER), feed(Clsact::Ours, LOWER));
        let missing = Err(OpError::NoDevice { device: ifb() });
        assert_eq!(host.apply(&[set_feed(&device, None, lower)]), [missing]);
        assert_eq!(trace(), before);
        all_well(&host.apply(&[add_ifb(), set_feed(&device, None, lower)]));
        let observed = seen(&mut host);
        assert_eq!(observed.state.feeds.get(&device).copied(), lower);
        assert_eq!(observed.devices[&device].edge, Edge::Clsact);
        let text = sh("tc filter show dev wan0 egress");
        for expected in [
            "filter protocol all pref 64000 bpf chain 0 handle 0x1 not_in_hw bytecode \
             '5,32 0 0 4294963220,84 0 0 65535,21 0 1 0,6 0 0 0,6 0 0 4294967295'",
            "action order 1: mirred (Egress Redirect to device wanshift-down) stolen",
        ] {
            assert!(text.contains(expected), "{text}");
        }
        all_well(&host.apply(&[set_feed(&device, lower, upper)]));
        assert_eq!(feed_of(&mut host, &device), upper);
        assert_eq!(
            sh("tc filter show dev wan0 egress")
                .matches("bytecode")
                .count(),
            1
        );
        // Another handle, and back: never two for long.
        let theirs = feed(Clsact::Theirs, UPPER);
        all_well(&host.apply(&[set_feed(&device, upper, theirs)]));
        assert_eq!(feed_of(&mut host, &device), theirs);
        all_well(&host.apply(&[set_feed(&device, theirs, lower)]));
        assert_eq!(feed_of(&mut host, &device), lower);
        let again = host.apply(&[set_feed(&device, None, lower)]);
        assert_eq!(errno(&again[0]), nix::libc::EEXIST);
        all_well(&host.apply(&[set_feed(&device, lower, None), delete_ifb()]));
        assert_eq!(trace(), before);
        // Gone is gone, whoever did it.
        all_well(&host.apply(&[set_feed(&device, lower, None)]));
        let nowhere: DeviceName = "nowhere".parse().unwrap();
        let missing = Err(OpError::NoDevice {
            device: nowhere.clone(),
        });
        assert_eq!(host.apply(&[set_feed(&nowhere, lower, None)]), [missing]);
    });
}

#[test]
fn somebody_elses_clsact_and_filters_stay_to_the_byte() {
    in_namespace(|| {
        let device = still();
        sh("tc qdisc add dev wan0 clsact");
        for (side, priority) in [("egress", 5), ("ingress", 5), ("egress", 49_152)] {
            sh(&format!(
                "tc filter add dev wan0 {side} pref {priority} protocol ip u32 match u32 0 0 \
                 action mirred egress mirror dev far0 continue"
            ));
        }
        sh(
            "tc filter add dev wan0 egress chain 3 pref 64000 handle 1 protocol all \
            bpf bytecode '1,6 0 0 0'",
        );
        let before = trace();
        let mut host = Host::open().unwrap();
        all_well(&host.apply(&[add_ifb()]));
        let theirs = feed(Clsact::Theirs, UPPER);
        all_well(&host.apply(&[set_feed(&device, None, theirs)]));
        assert_eq!(feed_of(&mut host, &device), theirs);
        // Even where we thought that it was ours.
        let ours = feed(Clsact::Ours, UPPER);
        all_well(&host.apply(&[set_feed(&device, ours, None)]));
        all_well(&host.apply(&[delete_ifb()]));
        assert_eq!(trace(), before);
    });
}

#[test]
fn a_clsact_of_ours_stays_for_what_others_put_in() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        all_well(&host.apply(&[add_ifb()]));
        let ours = feed(Clsact::Ours, UPPER);
        for place in ["ingress", "egress", "egress chain 9"] {
            all_well(&host.apply(&[set_feed(&device, None, ours)]));
            sh(&format!(
                "tc filter add dev wan0 {place} pref 5 protocol ip u32 match u32 0 0"
            ));
            all_well(&host.apply(&[set_feed(&device, ours, None)]));
            assert_eq!(feed_of(&mut host, &device), None);
            assert_eq!(seen(&mut host).devices[&device].edge, Edge::Clsact);
            let left = sh("tc filter show dev wan0 ingress; tc filter show dev wan0 egress");
            assert!(left.contains("u32") && !left.contains("bpf"), "{left}");
            sh("tc qdisc del dev wan0 clsact");
        }
    });
}

#[test]
fn an_ingress_is_no_place_for_a_feed() {
    in_namespace(|| {
        let device = still();
        sh("tc qdisc add dev wan0 ingress");
        let before = trace();
        let mut host = Host::open().unwrap();
        all_well(&host.apply(&[add_ifb()]));
        let (ours, theirs) = (feed(Clsact::Ours, UPPER), feed(Clsact::Theirs, UPPER));
        let results = host.apply(&[
            set_feed(&device, None, ours),
            set_feed(&device, None, theirs),
            set_feed(&device, ours, theirs),
            set_feed(&device, ours, None),
            delete_ifb(),
        ]);
        use nix::libc::{EEXIST, EINVAL};
        let numbers: Vec<_> = results[..3].iter().map(errno).collect();
        assert_eq!(numbers, [EEXIST, EINVAL, EINVAL]);
        all_well(&results[3..]);
        assert_eq!(trace(), before);
    });
}

#[test]
fn a_feed_that_somebody_changed_is_seen_and_mended() {
    in_namespace(|| {
        let device = still();
        let before = trace();
        let mut host = Host::open().unwrap();
        let ours = feed(Clsact::Ours, LOWER);
        let drifted = Some(Feed {
            clsact: Clsact::Ours,
            takes: Takes::Drifted,
        });
        all_well(&host.apply(&[add_ifb(), set_feed(&device, None, ours)]));
        let program =
            "bytecode '5,32 0 0 4294963220,84 0 0 65535,21 0 1 0,6 0 0 0,6 0 0 4294967295'";
        let change = "tc filter change dev wan0 egress pref 64000 handle 1 protocol all bpf";
        let redirect = "action mirred egress redirect dev";
        for line in [
            format!("{change} bytecode '1,6 0 0 4294967295' {redirect} wanshift-down"),
            format!("{change} {program} {redirect} far0"),
            format!("{change} {program} action mirred egress mirror dev wanshift-down"),
            format!("{change} {program} action mirred ingress redirect dev wanshift-down"),
            format!("{change} {program} {redirect} far0 {redirect} wanshift-down"),
            format!("{change} {program} classid 7a01:2"),
            format!("{change} {program}"),
            "ip link del wanshift-down".to_owned(),
            "ip link add wanshift-down type ifb; ip link set wanshift-down up".to_owned(),
            format!(
                "tc filter add dev wan0 egress pref 64000 handle 2 protocol all bpf {program} \
                 {redirect} wanshift-down"
            ),
        ] {
            sh(&line);
            assert_eq!(feed_of(&mut host, &device), drifted, "{line}");
            if seen(&mut host).state.ifb.is_none() {
                all_well(&host.apply(&[add_ifb()]));
                assert_eq!(feed_of(&mut host, &device), drifted, "{line}");
            } else if line.starts_with("ip link add") {
                continue;
            }
            all_well(&host.apply(&[set_feed(&device, drifted, ours)]));
            assert_eq!(feed_of(&mut host, &device), ours, "{line}");
            if line.starts_with("ip link del") {
                sh("ip link del wanshift-down");
            }
        }
        // Without the clsact there is none, and nothing to change.
        sh("tc qdisc del dev wan0 clsact");
        assert_eq!(feed_of(&mut host, &device), None);
        let refused = host.apply(&[set_feed(&device, ours, ours)]);
        assert_eq!(errno(&refused[0]), nix::libc::EINVAL);
        // One that somebody else made is not taken for ours.
        sh("tc qdisc add dev wan0 clsact");
        let refused = host.apply(&[
            set_feed(&device, ours, ours),
            set_feed(&device, drifted, ours),
        ]);
        assert_eq!(
            refused.iter().map(errno).collect::<Vec<_>>(),
            [nix::libc::ENOENT; 2]
        );
        sh("tc qdisc del dev wan0 clsact");
        all_well(&host.apply(&[set_feed(&device, None, ours)]));
        all_well(&host.apply(&[set_feed(&device, ours, None), delete_ifb()]));
        assert_eq!(trace(), before);
    });
}
