//! Who carries out a shift: verbs without a daemon, or a daemon that others ask for things meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::daemon::{Daemon, scrape};
use crate::host::Host;
use crate::lab::sleep;

/// Who carries out a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    /// A verb, each time anew.
    Verbs,
    /// A daemon, which samples each second.
    Daemon,
}

/// Somebody who carries out shifts on a host.
pub struct Taken<'a> {
    host: &'a Host,
    daemon: Option<Daemon<'a>>,
}

impl Hand {
    /// Takes charge of a host, whose policy's first phase is that.
    pub fn take<'a>(self, host: &'a Host, first: &str) -> Taken<'a> {
        let daemon = match self {
            Self::Verbs => {
                host.wanshift(&["apply"]);
                None
            }
            Self::Daemon => Some(Daemon::start(host, first)),
        };
        Taken { host, daemon }
    }
}

impl Taken<'_> {
    /// Enters a phase. A daemon is asked for its status and its metrics all the while, and where there is a ramp
    /// others change their mind twice on the way: back to `other`, and there again.
    #[track_caller]
    pub fn enters(&self, phase: &str, other: &str) {
        let enter = |phase: &str| self.host.try_wanshift(&["phase", phase]);
        if self.daemon.is_none() {
            self.host.wanshift(&["phase", phase]);
            return;
        }
        let over = Arc::new(AtomicBool::new(false));
        std::thread::scope(|scope| {
            let until = over.clone();
            scope.spawn(move || {
                while !until.load(Ordering::Relaxed) {
                    assert!(scrape(self.host).contains("wanshift_build_info"));
                    let status = self.host.try_wanshift(&["--json", "status"]);
                    assert!(!status.stdout.is_empty());
                    sleep(Duration::from_millis(50));
                }
            });
            let first = scope.spawn(|| enter(phase));
            sleep(Duration::from_millis(300));
            if !first.is_finished() {
                let second = scope.spawn(|| enter(other));
                let told = first.join().unwrap();
                let said = String::from_utf8_lossy(&told.stderr)
                    .into_owned()
                    .replace("\n    ", " ");
                assert!(said.contains("ended by another order"), "{said}");
                sleep(Duration::from_millis(100));
                let third = enter(phase);
                assert!(third.status.success(), "{third:?}");
                drop(second.join());
            }
            over.store(true, Ordering::Relaxed);
        });
        let status = self.daemon.as_ref().and_then(Daemon::status);
        let status = status.expect("an answer");
        assert_eq!(status["phase"]["name"], phase, "{status:#}");
        assert_eq!(status["phase"]["shifting"], serde_json::Value::Null);
    }

    /// Nothing failed, and nothing had to be put right.
    #[track_caller]
    pub fn is_well(&self) {
        if let Some(daemon) = &self.daemon {
            let status = daemon.status().expect("an answer");
            assert_eq!(status["healthy"], true, "{status:#}\n{}", daemon.log());
            assert_eq!(
                status["repairs"]["count"],
                0,
                "{status:#}\n{}",
                daemon.log()
            );
        }
    }
}
