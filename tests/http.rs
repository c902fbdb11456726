//! What is told over HTTP, asked with a plain socket.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

#[path = "common/status.rs"]
mod status;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wanshift::api::{Stage, Status};
use wanshift::http::{self, HttpError, Limits};
use wanshift::metrics::{Exporter, Snapshot};

/// A server on a port of its own, on a thread of its own, which ends with the test.
struct Server {
    address: SocketAddr,
    publish: watch::Sender<Arc<Snapshot>>,
    exporter: Exporter,
}

impl Server {
    fn start(limits: Limits) -> Self {
        let exporter = Exporter::new("1.2.3");
        let (publish, snapshots) = watch::channel(exporter.snapshot());
        let (told, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = http::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                http::serve_within(listener, snapshots, limits)
                    .await
                    .unwrap();
            });
        });
        Self {
            address: address.recv().unwrap(),
            publish,
            exporter,
        }
    }

    fn publish(&mut self, status: Status) {
        let snapshot = self.exporter.publish(Arc::new(status));
        self.publish.send(snapshot).unwrap();
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    /// The status code and the whole answer.
    fn ask(&self, method: &str, path: &str, host: &str) -> (u16, String) {
        let mut stream = self.connect();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        read(&mut stream)
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "localhost")
    }
}

fn read(stream: &mut TcpStream) -> (u16, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let code = answer
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("{answer:?}"));
    (code.parse().unwrap(), answer)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn metrics_are_the_last_that_were_published() {
    let mut server = Server::start(Limits::default());
    let (code, answer) = server.get("/metrics");
    assert_eq!(code, 200);
    assert!(answer.contains("wanshift_healthy 0\n"), "{answer}");
    server.publish(status::status());
    let (code, answer) = server.get("/metrics");
    assert_eq!(code, 200);
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4"),
        "{answer}"
    );
    assert_eq!(body(&answer), server.exporter.render());
    assert!(answer.contains("wanshift_healthy 1\n"), "{answer}");
}

#[test]
fn health_is_told_with_what_is_wrong() {
    let mut server = Server::start(Limits::default());
    let (code, answer) = server.get("/healthz");
    assert_eq!(code, 503, "{answer}");
    server.publish(status::status());
    let (code, answer) = server.get("/healthz");
    assert_eq!((code, body(&answer)), (200, "healthy\n"));
    let mut status = status::status();
    status.healthy = false;
    status.problems = vec![status::problem(Stage::Store)];
    server.publish(status);
    let (code, answer) = server.get("/healthz");
    assert_eq!(
        (code, body(&answer)),
        (
            503,
            "store: it does not work: do something (since 2026-11-22T03:00:00Z)\n"
        )
    );
}

#[test]
fn the_state_reads_back() {
    let mut server = Server::start(Limits::default());
    assert_eq!(server.get("/status").0, 503);
    server.publish(status::status());
    let (code, answer) = server.get("/status");
    assert_eq!(code, 200);
    let json: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(json["schema_version"], 1);
    let told: Status = serde_json::from_value(json).unwrap();
    assert_eq!(told, status::status());
}

#[test]
fn nothing_is_written_through_it() {
    let server = Server::start(Limits::default());
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for path in ["/metrics", "/healthz", "/status"] {
            let (code, answer) = server.ask(method, path, "localhost");
            assert_eq!(code, 405, "{method} {path}: {answer}");
        }
    }
    assert_eq!(server.get("/other").0, 404);
}

#[test]
fn another_name_than_the_loopbacks_is_refused() {
    let server = Server::start(Limits::default());
    for host in [
        "localhost",
        "LOCALHOST:9",
        "127.0.0.1:9469",
        "127.8.8.8",
        "[::1]:9469",
        "[::1]",
    ] {
        assert_eq!(server.ask("GET", "/metrics", host).0, 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1:9469",
        "[fe80::1]",
        "0.0.0.0",
        "",
        "localhost\r\nHost: evil.example",
    ] {
        let (code, answer) = server.ask("GET", "/status", host);
        assert!([400, 403].contains(&code), "{host}: {answer}");
    }
}

#[test]
fn an_address_that_others_reach_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for address in [
            "0.0.0.0:0",
            "[::]:0",
            "192.0.2.1:9469",
            "[::ffff:192.0.2.1]:9469",
        ] {
            let error = http::bind(address.parse().unwrap()).unwrap_err();
            assert!(matches!(error, HttpError::NotLoopback { .. }), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("other hosts") && text.contains("127.0.0.1"),
                "{text}"
            );
        }
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let (_publish, snapshots) = watch::channel(Exporter::new("1").snapshot());
        let served = http::serve(listener, snapshots).await;
        assert!(matches!(served, Err(HttpError::NotLoopback { .. })));
        let taken = http::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let again = http::bind(taken.local_addr().unwrap());
        assert!(matches!(again, Err(HttpError::Bind { .. })));
    });
}

#[test]
fn who_dawdles_is_cut_off_and_leaves_room_for_others() {
    let limits = Limits {
        connections: 2,
        life: Duration::from_millis(300),
    };
    let server = Server::start(limits);
    let dawdlers: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = server.connect();
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: lo")
                .unwrap();
            stream
        })
        .collect();
    // Behind two that hold all the room, and two that wait for it.
    assert_eq!(server.get("/metrics").0, 200);
    for mut stream in dawdlers {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_ok_and(|read| read == 0) || rest.is_empty());
    }
}

#[test]
fn several_requests_go_over_one_connection() {
    let server = Server::start(Limits::default());
    let mut stream = server.connect();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /other HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let (code, answer) = read(&mut stream);
    assert_eq!(code, 503);
    assert!(answer.contains("404 Not Found"), "{answer}");
}
