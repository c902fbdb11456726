//! Blocks under live traffic: who is told, how soon, and who is not touched.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::errno::Errno;
use wanshift::kernel::nft;
use wanshift::lower::classify::{BlockRules, Classifier};
use wanshift::model::circuit::MarkMask;

use super::namespace::{Host, inside, nft as script, run};
use super::net::{DEPOT, FAR, NOBODYS, Net, WEB, WITHIN, rules};
use super::policies::{block, matching, table};
use super::roundtrip::{observed, same};

/// Longer than any refusal takes, shorter than a SYN is repeated.
const SOON: Duration = Duration::from_millis(900);
/// What passes may take longer: neighbours have to be found.
const LATE: Duration = Duration::from_secs(8);

/// Has the edge hold these blocks and no others.
fn hold(net: &Net, blocks: Vec<BlockRules>) {
    net.edge.enter();
    let rules = Classifier {
        blocks,
        ..rules(MarkMask::UPPER_16)
    };
    let table = table(&rules);
    nft::apply(observed().as_ref(), Some(&table)).unwrap();
    same(&observed().unwrap(), &table);
}

fn listen(host: &Host, address: &str, port: u16) -> TcpListener {
    host.enter();
    TcpListener::bind(at(address, port)).unwrap()
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

fn connect(
    host: &Host,
    address: &str,
    port: u16,
    within: Duration,
) -> Result<TcpStream, ErrorKind> {
    host.enter();
    let stream =
        TcpStream::connect_timeout(&at(address, port), within).map_err(|error| error.kind())?;
    stream.set_read_timeout(Some(SOON)).unwrap();
    Ok(stream)
}

#[track_caller]
fn passes(host: &Host, address: &str, port: u16) -> TcpStream {
    connect(host, address, port, LATE).unwrap_or_else(|error| panic!("{address} {port}: {error}"))
}

#[track_caller]
fn refused(host: &Host, address: &str, port: u16) {
    let error = connect(host, address, port, SOON).map(|_| ()).unwrap_err();
    assert_eq!(error, ErrorKind::ConnectionRefused, "{address} {port}");
}

/// What a datagram's sender is told.
fn told(host: &Host, address: &str, port: u16) -> Option<Errno> {
    host.enter();
    let any = if address.contains(':') {
        "::"
    } else {
        "0.0.0.0"
    };
    let socket = UdpSocket::bind(at(any, 0)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.connect(at(address, port)).unwrap();
    socket.send(b"datagram").unwrap();
    let error = socket.recv(&mut [0; 16]).unwrap_err();
    let errno = Errno::from_raw(error.raw_os_error().unwrap());
    (errno != Errno::EAGAIN).then_some(errno)
}

/// Both ends of a connection over which something has gone.
fn pair(net: &Net, listener: &TcpListener, address: &str, port: u16) -> [TcpStream; 2] {
    let mut client = passes(&net.within, address, port);
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    {
        let (from, to) = (&mut client, &mut server);
        from.write_all(b"question").unwrap();
        to.read_exact(&mut [0; 8]).unwrap();
        to.write_all(b"answer").unwrap();
        from.read_exact(&mut [0; 6]).unwrap();
    }
    [client, server]
}

/// That an end that sends is told at once that the connection is over.
#[track_caller]
fn is_cut(what: &str, end: &mut TcpStream) {
    let _ = end.write_all(b"more");
    let error = end.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}");
}

/// Browsing from within over the internet circuit, but for one address of each family.
fn browsing() -> BlockRules {
    block(
        "browsing",
        matching(
            &[WITHIN[0], WITHIN[1]].map(wide),
            &[],
            &["tcp/80", "udp/443"],
            &[],
        ),
        &["wan0", "wg0"],
        vec![matching(&[], &[WEB[0], WEB[1]].map(wide), &[], &[])],
    )
}

/// An address as a prefix.
fn wide(address: &'static str) -> &'static str {
    let length = if address.contains(':') { 128 } else { 32 };
    Box::leak(format!("{address}/{length}").into_boxed_str())
}

fn rejected(net: &Net, block: &str) -> u64 {
    net.edge.enter();
    let text = run(
        "nft",
        &[
            "list",
            "counter",
            "inet",
            "wanshift",
            &format!("blocked.{block}"),
        ],
    );
    let (_, figures) = text.split_once("packets ").unwrap();
    figures.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn browsing_is_refused_at_once_and_what_is_excepted_passes() {
    inside(|| {
        let net = Net::new();
        let _servers: Vec<TcpListener> = [FAR, WEB]
            .concat()
            .into_iter()
            .flat_map(|address| [80, 8080].map(|port| listen(&net.beyond, address, port)))
            .collect();
        let _branch = DEPOT.map(|address| listen(&net.branch, address, 80));
        let _nobodys = NOBODYS.map(|address| listen(&net.nobodys, address, 80));
        for family in [0, 1] {
            passes(&net.within, FAR[family], 80);
        }
        hold(&net, vec![browsing()]);
        let prohibited = [Errno::EHOSTUNREACH, Errno::EACCES];
        for family in [0, 1] {
            refused(&net.within, FAR[family], 80);
            assert_eq!(
                told(&net.within, FAR[family], 443),
                Some(prohibited[family])
            );
            assert_eq!(
                told(&net.within, FAR[family], 444),
                Some(Errno::ECONNREFUSED)
            );
            passes(&net.within, WEB[family], 80);
            passes(&net.within, FAR[family], 8080);
            passes(&net.within, DEPOT[family], 80);
            passes(&net.within, NOBODYS[family], 80);
            // Who is not meant, and the host itself.
            passes(&net.branch, FAR[family], 80);
            passes(&net.edge, FAR[family], 80);
        }
        let count = rejected(&net, "browsing");
        assert!(count >= 4, "{count}");
        let read = wanshift::kernel::nft::rejected().unwrap();
        assert_eq!(read[&"browsing".parse().unwrap()], count);
        // Another block beside it: what was counted stays.
        let everywhere = block("web", matching(&[], &[], &["tcp/80"], &[]), &[], vec![]);
        hold(&net, vec![browsing(), everywhere]);
        assert_eq!(rejected(&net, "browsing"), count);
        for family in [0, 1] {
            refused(&net.within, DEPOT[family], 80);
            refused(&net.branch, FAR[family], 80);
            passes(&net.edge, FAR[family], 80);
        }
        hold(&net, vec![]);
        for family in [0, 1] {
            passes(&net.within, FAR[family], 80);
            assert_eq!(
                told(&net.within, FAR[family], 443),
                Some(Errno::ECONNREFUSED)
            );
        }
    });
}

#[test]
fn open_connections_are_cut_or_drained() {
    inside(|| {
        let net = Net::new();
        for family in [0, 1] {
            let listener = listen(&net.beyond, FAR[family], 80);
            let open = || pair(&net, &listener, FAR[family], 80);
            let [mut to_end, mut from_end] = open();
            let [mut heard, mut speaker] = open();
            let [mut asker, mut asked] = open();
            let draining = BlockRules {
                drains: true,
                ..browsing()
            };
            hold(&net, vec![draining]);
            refused(&net.within, FAR[family], 80);
            to_end.write_all(b"question").unwrap();
            from_end.read_exact(&mut [0; 8]).unwrap();
            from_end.write_all(b"answer").unwrap();
            to_end.read_exact(&mut [0; 6]).unwrap();
            hold(&net, vec![browsing()]);
            is_cut("the server speaks", &mut speaker);
            is_cut("the client speaks after it", &mut heard);
            is_cut("the client speaks", &mut asker);
            is_cut("the server speaks after it", &mut asked);
            hold(&net, vec![]);
            passes(&net.within, FAR[family], 80);
        }
    });
}

#[test]
fn what_was_asked_for_counts_and_not_where_it_was_led() {
    inside(|| {
        let net = Net::new();
        // 8443 of the edge is led to 443 of a host within.
        let _server = listen(&net.within, WITHIN[0], 443);
        passes(&net.beyond, "198.51.100.1", 8443);
        let at = |port: &'static str, to: &'static str| {
            let what = matching(&[], &[to], &[port], &[]);
            vec![block("led", what, &[], vec![])]
        };
        hold(&net, at("tcp/443", "10.77.20.5/32"));
        passes(&net.beyond, "198.51.100.1", 8443);
        hold(&net, at("tcp/8443", "198.51.100.1/32"));
        refused(&net.beyond, "198.51.100.1", 8443);
    });
}

#[test]
fn what_nobody_tracks_is_rejected_as_it_stands() {
    inside(|| {
        let net = Net::new();
        net.edge.enter();
        script(
            "table inet theirs {
               chain pre { type filter hook prerouting priority -300; ip6 nexthdr { tcp, udp } notrack; }
             }",
        );
        let _far = listen(&net.beyond, FAR[1], 80);
        let _web = listen(&net.beyond, WEB[1], 80);
        for drains in [false, true] {
            hold(&net, vec![]);
            let listener = listen(&net.beyond, FAR[1], 81);
            let [mut client, mut server] = pair(&net, &listener, FAR[1], 81);
            let wider = matching(&[wide(WITHIN[1])], &[], &["tcp/80-81", "udp/443"], &[]);
            let block = BlockRules {
                drains,
                what: wider,
                ..browsing()
            };
            hold(&net, vec![block]);
            refused(&net.within, FAR[1], 80);
            passes(&net.within, WEB[1], 80);
            is_cut("the server speaks", &mut server);
            is_cut("the client speaks", &mut client);
        }
    });
}

#[test]
fn nothing_passes_as_a_drain_ends_or_a_block_changes() {
    inside(|| {
        let net = Net::new();
        net.beyond.enter();
        let server = UdpSocket::bind(at(FAR[0], 443)).unwrap();
        server.set_nonblocking(true).unwrap();
        // Ranges, which the kernel fills a moment after a rule about them is there.
        let hosts = [wide(WITHIN[0]), "10.201.0.0/16", "10.203.4.0/22"];
        let what = matching(&hosts, &[], &["udp/400-500", "udp/1000-2000"], &[]);
        let tables: Vec<_> = [true, false]
            .map(|drains| Classifier {
                blocks: vec![BlockRules {
                    drains,
                    what: what.clone(),
                    ..browsing()
                }],
                ..rules(MarkMask::UPPER_16)
            })
            .iter()
            .map(table)
            .collect();
        let [draining, rejecting] = tables.as_slice() else {
            panic!("two tables");
        };
        net.edge.enter();
        nft::apply(observed().as_ref(), Some(draining)).unwrap();
        net.within.enter();
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(at(FAR[0], 443)).unwrap();
        let stop = AtomicBool::new(false);
        let mut counted = vec![rejected(&net, "browsing")];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    // A refusal is told at times: no matter.
                    let _ = socket.send(b"datagram");
                }
            });
            for _ in 0..25 {
                nft::apply(Some(draining), Some(rejecting)).unwrap();
                counted.push(rejected(&net, "browsing"));
                nft::apply(Some(rejecting), Some(draining)).unwrap();
                counted.push(rejected(&net, "browsing"));
            }
            stop.store(true, Relaxed);
        });
        let mut passed = 0;
        while server.recv(&mut [0; 16]).is_ok() {
            passed += 1;
        }
        let all = counted.last().unwrap();
        println!("{passed} passed and {all} were rejected during 50 changes of the block");
        assert!(counted.is_sorted() && *all > 1_000, "{counted:?}");
        assert_eq!(passed, 0);
    });
}
