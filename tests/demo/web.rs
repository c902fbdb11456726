//! Those who browse, and the web servers that they browse at: real TCP connections, real pages.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lab::socket::{tcp_connect, tcp_listener};
use crate::lab::time::Nanos;
use crate::lab::{Lab, address, now, sleep};

/// The ports that browsers ask.
pub const PORTS: [u16; 2] = [80, 443];
/// Bytes of a page.
const PAGE: usize = 20_000;
/// After which a page has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts the servers of the internet, and of the web applications. They end with this process.
pub fn serve(lab: &Lab) {
    for at in [address::WEB, address::SHORTCUTS] {
        for port in PORTS {
            let address = SocketAddr::new(at, port);
            let listener = lab.internet().make(|| tcp_listener(address, 0));
            std::thread::spawn(move || accept(&listener));
        }
    }
}

fn accept(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        // Who was cut off meanwhile gets no page.
        std::thread::spawn(move || drop(answer(stream)));
    }
}

fn answer(mut stream: TcpStream) -> Result<(), Error> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut asked = Vec::new();
    let mut part = [0; 1024];
    while !asked.ends_with(b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            count => asked.extend_from_slice(&part[..count]),
        }
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PAGE}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&[b'.'; PAGE])
}

/// One try to fetch a page.
pub struct Try {
    /// When it began.
    pub at: Nanos,
    /// How long it took.
    pub took: Duration,
    /// What came of it.
    pub came: Result<(), ErrorKind>,
}

impl Try {
    /// Whether the page came.
    pub fn fetched(&self) -> bool {
        self.came.is_ok()
    }

    /// Whether the connection was refused.
    pub fn refused(&self) -> bool {
        self.came == Err(ErrorKind::ConnectionRefused)
    }
}

/// A session host's browser, in its namespace, asks `to` for a page.
fn fetch(to: SocketAddr) -> Try {
    let at = now();
    let came = page(to).map_err(|error| error.kind());
    Try {
        at,
        took: Duration::from_nanos(now() - at),
        came,
    }
}

fn page(to: SocketAddr) -> Result<(), Error> {
    let mut stream = tcp_connect(SocketAddr::new(address::SESSION_HOST, 0), to, 0)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let ask = format!("GET / HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let whole = answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(&[b'.'; PAGE]);
    whole.then_some(()).ok_or(ErrorKind::UnexpectedEof.into())
}

/// A session host asks `to` for `count` pages over each of the ports.
pub fn tries(lab: &Lab, to: IpAddr, count: usize) -> Vec<Try> {
    lab.datacentre().make(|| {
        let ports = PORTS.iter().cycle().take(count * PORTS.len());
        let one = |port: &u16| {
            sleep(Duration::from_millis(5));
            fetch(SocketAddr::new(to, *port))
        };
        ports.map(one).collect()
    })
}

/// The median of what tries took, and the longest.
pub fn times(tries: &[Try]) -> [Duration; 2] {
    let mut times: Vec<Duration> = tries.iter().map(|one| one.took).collect();
    times.sort_unstable();
    [times[times.len() / 2], times[times.len() - 1]]
}

/// How many tries came to that.
pub fn how_many(tries: &[Try], of: impl Fn(&Try) -> bool) -> f64 {
    tries.iter().filter(|one| of(one)).count() as f64
}

/// From the flush on, the time at which the first of all tries began that were refused to the end.
pub fn refused_again(tries: &[Try], flushed: Nanos) -> f64 {
    let after = || tries.iter().filter(|one| one.at >= flushed);
    let through = after().filter(|one| !one.refused()).map(|one| one.at + 1);
    let since = through.max().unwrap_or(flushed);
    // Where nobody is refused to the end, that is later than any bound.
    after()
        .find(|one| one.at >= since)
        .map_or(f64::INFINITY, |first| (first.at - flushed) as f64 / 1e6)
}

/// How long one who browses waits for a connection before he tries another.
const IMPATIENCE: Duration = Duration::from_millis(50);

/// A session host opens a connection to the internet. One that waits in a queue is not refused: that is known at
/// once, and one that was opening as the block came hears of it only as it tries again.
fn knock() -> Try {
    let at = now();
    // The namespace's own source is the session host.
    let to = SocketAddr::new(address::WEB, 443);
    let came = TcpStream::connect_timeout(&to, IMPATIENCE);
    Try {
        at,
        took: Duration::from_nanos(now() - at),
        came: came.map(drop).map_err(|error| error.kind()),
    }
}

/// Three who open connections to the internet all the time.
pub struct Browsing {
    stop: Arc<AtomicBool>,
    all: Vec<JoinHandle<Vec<Try>>>,
}

impl Browsing {
    pub fn start(lab: &Lab) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let browse = |_| {
            let until = stop.clone();
            lab.datacentre().thread(move || {
                let mut tries = Vec::new();
                while !until.load(Ordering::Relaxed) {
                    tries.push(knock());
                    sleep(Duration::from_millis(1));
                }
                tries
            })
        };
        let all = (0..3).map(browse).collect();
        Self { stop, all }
    }

    /// All tries, in the order in which they began.
    pub fn stop(self) -> Vec<Try> {
        self.stop.store(true, Ordering::Relaxed);
        let all = self.all.into_iter();
        let mut tries: Vec<Try> = all.flat_map(|one| one.join().unwrap()).collect();
        tries.sort_unstable_by_key(|one| one.at);
        tries
    }
}
