//! What others change in the kernel is heard, and what is nobody's concern is not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use common::{in_namespace, sh};
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use wanshift::kernel::link::index_of;
use wanshift::kernel::tc::message::{Messages, RTM_DELTCLASS, RTM_NEWLINK, RTM_NEWTCLASS};
use wanshift::kernel::tc::socket::RouteSocket;
use wanshift::kernel::watch::{Seen, Watch};
use wanshift::kernel::{Host, Kernel};
use wanshift::model::state::{Major, Minor};
use wanshift::plan::op::Op;

/// Soon enough.
const SOON: Duration = Duration::from_millis(100);

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts what a thread asks for.
struct Counting;

// SAFETY: all is passed on.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `test` in a namespace with somebody who listens.
fn listening(test: impl AsyncFnOnce(&mut Watch) + Send + 'static) {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            sh("ip link add wan0 type veth peer name far0 && ip link set wan0 up");
            sh("tc qdisc add dev wan0 root handle 7a01: htb default 2 \
                && tc class add dev wan0 classid 7a01:9 htb rate 1mbit");
            let mut watch = Watch::open().unwrap();
            // The kernel goes on telling of a device that has come up.
            while tokio::time::timeout(Duration::from_millis(300), watch.next())
                .await
                .is_ok()
            {}
            test(&mut watch).await;
        });
    });
}

/// All that is told until it is quiet.
async fn told(watch: &mut Watch) -> BTreeSet<Seen> {
    let mut all = BTreeSet::new();
    while let Ok(seen) = tokio::time::timeout(SOON, watch.next()).await {
        all.insert(seen);
    }
    all
}

fn index(name: &str) -> u32 {
    let mut socket = RouteSocket::open().unwrap();
    index_of(&mut socket, &name.parse().unwrap())
        .unwrap()
        .unwrap()
}

fn shaping() -> BTreeSet<Seen> {
    BTreeSet::from([Seen::Shaping {
        index: index("wan0"),
    }])
}

fn link(index: u32, name: &str) -> Seen {
    let name = Some(name.parse().unwrap());
    Seen::Link { index, name }
}

const CHANGE: &str = "tc class change dev wan0 classid 7a01:9 htb rate 2mbit";

#[test]
fn somebodys_flush_of_our_table_is_heard_at_once() {
    listening(async |watch| {
        sh("nft 'table inet wanshift { chain leaving { counter; }; }'");
        assert_eq!(told(watch).await, BTreeSet::from([Seen::Rules]));
        for change in [
            "nft add rule inet wanshift leaving counter",
            "nft add set inet wanshift users '{ type ipv4_addr; }'",
            "nft add element inet wanshift users '{ 192.0.2.1 }'",
            "nft flush ruleset",
        ] {
            sh(change);
            let seen = tokio::time::timeout(SOON, watch.next()).await;
            assert_eq!(seen.unwrap_or_else(|_| panic!("{change}")), Seen::Rules);
        }
        assert_eq!(told(watch).await, BTreeSet::new());
    });
}

#[test]
fn tables_of_others_are_nobodys_concern() {
    listening(async |watch| {
        // The first message of a listener makes what it needs for all others.
        sh("nft add table ip wanshift");
        assert_eq!(told(watch).await, BTreeSet::new());
        let elements: Vec<String> = (0..5_000)
            .map(|n| format!("10.0.{}.{}", n / 250, n % 250))
            .collect();
        let script: String = (0..500)
            .map(|n| {
                format!("add chain inet wanshift2 c{n}\nadd rule inet wanshift2 c{n} counter\n")
            })
            .collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = format!(
            "add table ip wanshift\nadd table inet wanshift2\n{script}\
             add set ip wanshift users {{ type ipv4_addr; }}\n\
             add element ip wanshift users {{ {} }}\ndelete table ip wanshift\n",
            elements.join(", ")
        );
        std::fs::write(file.path(), script).unwrap();
        let line = format!("nft -f {}", file.path().display());
        for _ in 0..5 {
            sh(&line);
        }
        let before = ALLOCATIONS.get();
        assert_eq!(told(watch).await, BTreeSet::new());
        let allocations = ALLOCATIONS.get() - before;
        assert!(allocations < 50, "{allocations} allocations");
        // And it was awake.
        sh("nft add table inet wanshift");
        assert_eq!(told(watch).await, BTreeSet::from([Seen::Rules]));
    });
}

#[test]
fn shaping_that_somebody_changes_is_heard_and_our_own_can_be_muted() {
    listening(async |watch| {
        for change in [
            CHANGE,
            "tc class add dev wan0 classid 7a01:8 htb rate 1mbit",
            "tc class del dev wan0 classid 7a01:8",
            "tc qdisc add dev wan0 clsact",
            "tc qdisc del dev wan0 root",
        ] {
            sh(change);
            assert_eq!(told(watch).await, shaping(), "{change}");
        }
        let mut host = Host::open().unwrap();
        let device: wanshift::model::names::DeviceName = "wan0".parse().unwrap();
        let major = Major::new(0x7a01).unwrap();
        let add = Op::AddRoot {
            device: device.clone(),
            major,
            default: Minor::CONTROL,
            over: None,
        };
        let delete = Op::DeleteRoot {
            device: device.clone(),
            major,
            default: Minor::CONTROL,
        };
        assert_eq!(host.apply(std::slice::from_ref(&add)), [Ok(())]);
        assert_eq!(told(watch).await, shaping());
        watch.mute(host.port());
        assert_eq!(host.apply(&[delete, add]), [Ok(()), Ok(())]);
        assert_eq!(told(watch).await, BTreeSet::new());
        sh("tc class add dev wan0 classid 7a01:8 htb rate 1mbit");
        assert_eq!(told(watch).await, shaping());
    });
}

#[test]
fn devices_that_come_change_or_go_are_heard() {
    listening(async |watch| {
        sh("ip link add wan1 type veth peer name far1");
        let (wan1, far1) = (index("wan1"), index("far1"));
        let seen = told(watch).await;
        assert!(seen.contains(&link(wan1, "wan1")), "{seen:?}");
        assert!(seen.contains(&link(far1, "far1")), "{seen:?}");
        sh("ip link set wan1 name wan2");
        let seen = told(watch).await;
        assert!(seen.contains(&link(wan1, "wan2")), "{seen:?}");
        sh("ip link set wan2 up");
        let seen = told(watch).await;
        assert!(seen.contains(&link(wan1, "wan2")), "{seen:?}");
        sh("ip link del wan2");
        let seen = told(watch).await;
        assert!(seen.contains(&link(wan1, "wan2")), "{seen:?}");
        // More of them than are worth telling one by one.
        let many: String = (0..200)
            .map(|n| format!("link add a{n} type veth peer name b{n}\n"))
            .collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), many).unwrap();
        sh(&format!("ip -batch {}", file.path().display()));
        let seen = told(watch).await;
        assert!(seen.contains(&Seen::Everything), "{seen:?}");
    });
}

#[test]
fn a_burst_is_never_followed_by_silence() {
    listening(async |watch| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let change = "class change dev wan0 classid 7a01:9 htb rate 2mbit\n";
        std::fs::write(file.path(), change.repeat(20_000)).unwrap();
        let burst = format!("tc -batch {}", file.path().display());
        sh(&burst);
        let mut expected = shaping();
        let seen = told(watch).await;
        let lost = BTreeSet::from([Seen::Everything]);
        assert!(seen == expected || seen == lost, "{seen:?}");
        // So many that they cannot all be kept; a device comes among those that are lost.
        for _ in 0..3 {
            sh(&burst);
        }
        sh("ip link add wan1 type veth peer name far1");
        let seen = told(watch).await;
        assert!(seen.contains(&Seen::Everything), "{seen:?}");
        // From then on it hears as before.
        sh(CHANGE);
        assert_eq!(told(watch).await, expected);
        sh("ip link set wan0 mtu 1400");
        expected = BTreeSet::from([link(index("wan0"), "wan0")]);
        assert!(told(watch).await.is_superset(&expected));
    });
}

#[test]
fn what_is_lost_among_changes_of_others_is_told_once_there_is_nothing_more_to_read() {
    listening(async |watch| {
        // Long messages, so that few fill the buffer: fewer than are read before anybody else has a turn.
        let comment = "x".repeat(128);
        let elements: Vec<String> = (0..60_000_u32)
            .map(|n| format!("{} comment {comment}", std::net::Ipv4Addr::from(n)))
            .collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = format!(
            "add table inet theirs\nadd set inet theirs s {{ type ipv4_addr; }}\n\
             add element inet theirs s {{ {} }}\n",
            elements.join(", ")
        );
        std::fs::write(file.path(), script).unwrap();
        sh(&format!("nft -f {}", file.path().display()));
        assert_eq!(told(watch).await, BTreeSet::from([Seen::Everything]));
        assert_eq!(told(watch).await, BTreeSet::new());
    });
}

/// A message as the kernel would send it.
fn forged(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).unwrap();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend([0; 10]);
    message.extend(payload);
    message
}

/// Sends it to a group of listeners, and to each of them by its number.
fn send(protocol: isize, group: u32, message: &[u8]) {
    let mut socket = Socket::new(protocol).unwrap();
    socket.bind_auto().unwrap();
    let mask = 1 << (group - 1);
    socket
        .send_to(message, &SocketAddr::new(0, mask), 0)
        .unwrap();
    let table = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let mut numbers = 0;
    for line in table.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let groups = u32::from_str_radix(words[3], 16).unwrap();
        if words[1] == protocol.to_string() && groups & mask != 0 {
            let port = words[2].parse().unwrap();
            socket
                .send_to(message, &SocketAddr::new(port, 0), 0)
                .unwrap();
            numbers += 1;
        }
    }
    assert!(numbers > 0, "nobody listens: {table}");
}

#[test]
fn what_a_process_says_in_the_kernels_name_is_dropped() {
    listening(async |watch| {
        let index = index("wan0");
        let mut class = Messages::new();
        class.tc_header(index, 0x7a01_0009, 0);
        let mut link = Messages::new();
        link.put(&[0; 4]);
        link.put(&index.to_ne_bytes());
        link.put(&[0; 8]);
        link.attribute(3, b"wan0\0");
        let mut table = Messages::new();
        table.put(&[1, 0, 0, 0]);
        table.attribute(1, b"wanshift\0");
        for kind in [RTM_NEWTCLASS, RTM_DELTCLASS] {
            send(NETLINK_ROUTE, 4, &forged(kind, class.bytes()));
        }
        send(NETLINK_ROUTE, 1, &forged(RTM_NEWLINK, link.bytes()));
        // NFT_MSG_DELTABLE.
        send(NETLINK_NETFILTER, 7, &forged(0xa02, table.bytes()));
        assert_eq!(told(watch).await, BTreeSet::new());
        sh(CHANGE);
        assert_eq!(told(watch).await, shaping());
    });
}
