//! Cables, addresses and routes: one `ip -batch` for the cables, then one for each namespace, all at
//! once. What takes the time is the kernel making namespaces, not us.

use super::namespace::devices_here;
use super::time::{SECOND, now, sleep};
use super::{Lab, Namespace};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use std::fs;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Duration;

/// The edge's own packet filter: foreign to wanshift, which has to leave it alone.
const MASQUERADE: &str = "table inet lab {
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        oifname \"wan0\" ip saddr 10.77.0.0/16 counter masquerade
        oifname \"wan0\" ip6 saddr fd77:77:77::/48 counter masquerade
    }
}
";

const EDGE: &str = "\
address add 10.77.0.1/30 dev lan0
address add fd77:77:77::1/64 dev lan0 nodad
address add 10.77.255.1/30 dev mpls0
address add fd77:77:77:ff::1/64 dev mpls0 nodad
address add 198.18.77.2/30 dev wan0
address add 2001:db8:77::2/64 dev wan0 nodad
link set lan0 up
link set mpls0 up
link set wan0 up
route add 10.77.20.0/24 via 10.77.0.2
route add 10.77.9.0/24 via 10.77.0.2
route add 192.0.2.0/24 via 10.77.0.2
route add fd77:77:77:20::/64 via fd77:77:77::2
route add fd77:77:77:9::/64 via fd77:77:77::2
route add 2001:db8:2::/48 via fd77:77:77::2
route add 10.77.101.0/24 via 10.77.255.2
route add 10.77.102.0/24 via 10.77.255.2
route add fd77:77:77:101::/64 via fd77:77:77:ff::2
route add fd77:77:77:102::/64 via fd77:77:77:ff::2
route add default via 198.18.77.1
route add default via 2001:db8:77::1
";

// `local PREFIX` makes a host answer at every address of a prefix. IPv6 takes a preferred source only
// from addresses that are really configured, hence those on `lo`.
const DATACENTRE: &str = "\
address add 10.77.0.2/30 dev edge0
address add fd77:77:77::2/64 dev edge0 nodad
link set edge0 up
address add fd77:77:77:20::11/128 dev lo nodad
route add local 10.77.20.0/24 dev lo
route add local 10.77.9.0/24 dev lo
route add local 192.0.2.0/24 dev lo
route add local fd77:77:77:20::/64 dev lo
route add local fd77:77:77:9::/64 dev lo
route add local 2001:db8:2::/48 dev lo
route add default via 10.77.0.1 src 10.77.20.11
route add default via fd77:77:77::1 src fd77:77:77:20::11
";

const PROVIDER: &str = "\
address add 10.77.255.2/30 dev edge0
address add fd77:77:77:ff::2/64 dev edge0 nodad
address add 10.77.254.1/30 dev provins0
address add fd77:77:77:fe01::1/64 dev provins0 nodad
address add 10.77.254.5/30 dev nemours0
address add fd77:77:77:fe02::1/64 dev nemours0 nodad
link set edge0 up
link set provins0 up
link set nemours0 up
route add 10.77.101.0/24 via 10.77.254.2
route add fd77:77:77:101::/64 via fd77:77:77:fe01::2
route add 10.77.102.0/24 via 10.77.254.6
route add fd77:77:77:102::/64 via fd77:77:77:fe02::2
route add default via 10.77.255.1
route add default via fd77:77:77:ff::1
";

const PROVINS: &str = "\
address add 10.77.254.2/30 dev uplink0
address add fd77:77:77:fe01::2/64 dev uplink0 nodad
link set uplink0 up
address add fd77:77:77:101::11/128 dev lo nodad
route add local 10.77.101.0/24 dev lo
route add local fd77:77:77:101::/64 dev lo
route add default via 10.77.254.1 src 10.77.101.11
route add default via fd77:77:77:fe01::1 src fd77:77:77:101::11
";

const NEMOURS: &str = "\
address add 10.77.254.6/30 dev uplink0
address add fd77:77:77:fe02::2/64 dev uplink0 nodad
link set uplink0 up
address add fd77:77:77:102::11/128 dev lo nodad
route add local 10.77.102.0/24 dev lo
route add local fd77:77:77:102::/64 dev lo
route add default via 10.77.254.5 src 10.77.102.11
route add default via fd77:77:77:fe02::1 src fd77:77:77:102::11
";

// The internet knows the gateway's prefixes and nothing of the inside: what comes with an inside
// address unmasked gets no answer.
const INTERNET: &str = "\
address add 198.18.77.1/30 dev edge0
address add 2001:db8:77::1/64 dev edge0 nodad
link set edge0 up
address add 2001:db8:51::21/128 dev lo nodad
route add local 198.51.100.0/24 dev lo
route add local 203.0.113.0/24 dev lo
route add local 2001:db8:51::/64 dev lo
route add local 2001:db8:203::/64 dev lo
route add 192.0.2.0/24 via 198.18.77.2
route add 2001:db8:2::/48 via 2001:db8:77::2
";

pub(super) fn build(lab: &Lab) {
    let mut cables = String::new();
    let ends = [
        (lab.edge(), "lan0", lab.datacentre(), "edge0"),
        (lab.edge(), "mpls0", lab.provider(), "edge0"),
        (lab.edge(), "wan0", lab.internet(), "edge0"),
        (lab.provider(), "provins0", lab.provins(), "uplink0"),
        (lab.provider(), "nemours0", lab.nemours(), "uplink0"),
    ];
    // Ends with the same index are news to the kernel that can wait for a second; others cannot.
    for (index, (a, device_a, b, device_b)) in (2..).zip(ends) {
        let (a, b, peer) = (a.path(), b.path(), index + 10);
        cables.push_str(&format!(
            "link add {device_a} index {index} netns {a} type veth \
             peer name {device_b} index {peer} netns {b}\n"
        ));
    }
    finish(feed(lab.edge(), "ip", &["-batch", "-"], &cables));

    let mut running = vec![feed(lab.edge(), "nft", &["-f", "-"], MASQUERADE)];
    for (namespace, configuration) in [
        (lab.edge(), EDGE),
        (lab.datacentre(), DATACENTRE),
        (lab.provider(), PROVIDER),
        (lab.provins(), PROVINS),
        (lab.nemours(), NEMOURS),
        (lab.internet(), INTERNET),
    ] {
        let batch = format!("link set lo up\n{configuration}");
        running.push(feed(namespace, "ip", &["-batch", "-"], &batch));
    }
    running.into_iter().for_each(finish);
    settle(lab);
    for namespace in lab.all() {
        namespace.enter(keep_order);
    }
}

/// Has one CPU receive for every device of the calling thread's namespace, so that packets keep their
/// order.
///
/// What is sent into a veth waits for its receiver in the queue of the CPU that sent it. HTB sends from
/// whichever CPU comes by: two packets of one flow wait in two queues, and where one CPU is busy the
/// later packet is received first. A cable does not do that, so no test may see it: receive packet
/// steering takes all to one queue. Not one for each device, by which two CPUs would share the work:
/// what comes of that is mostly interrupts from one to the other, with half of the throughput.
///
/// (A veth with NAPI has one queue, too, but only for 256 packets, and drops the rest.)
fn keep_order() {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("the CPUs of this process");
    let cpu = (0..CpuSet::count())
        .find(|cpu| allowed.is_set(*cpu).unwrap_or_default())
        .expect("a CPU");
    // Words of 32 bits, the highest first.
    let mask = format!("{:x}{}", 1u32 << (cpu % 32), ",0".repeat(cpu / 32));
    for device in devices_here().iter().filter(|name| *name != "lo") {
        let queues = format!("/sys/class/net/{device}/queues");
        for queue in fs::read_dir(&queues).expect("/sys").flatten() {
            let name = queue.file_name().into_string().unwrap_or_default();
            if name.starts_with("rx-") {
                let file = queue.path().join("rps_cpus");
                fs::write(&file, &mask)
                    .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            }
        }
    }
}

/// The kernel tells a device that its cable is plugged in only a little later, and gives it its
/// link-local address then. A test that compares before and after wants that to be over.
fn settle(lab: &Lab) {
    let deadline = now() + 10 * SECOND;
    for namespace in lab.all() {
        namespace.enter(|| {
            loop {
                let up = devices_here()
                    .iter()
                    .filter(|name| *name != "lo")
                    .all(|name| {
                        let state = fs::read_to_string(format!("/sys/class/net/{name}/operstate"));
                        state.is_ok_and(|state| state.trim() == "up")
                    });
                let links =
                    fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
                let local = links
                    .lines()
                    .filter(|line| line.starts_with("fe80"))
                    .count();
                if up && local + 1 == devices_here().len() {
                    return;
                }
                assert!(
                    now() < deadline,
                    "the links of {} stay down",
                    namespace.label()
                );
                sleep(Duration::from_millis(2));
            }
        });
    }
}

fn feed(namespace: &Namespace, program: &str, arguments: &[&str], text: &str) -> Child {
    let mut child = namespace
        .command(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    child
}

fn finish(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "the lab cannot be built: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
