//! The daemon: one loop that carries out what is asked, wakes the keeper when something is due, and listens to
//! the kernel.
//!
//! It runs on one thread. What it does with the kernel and the store takes milliseconds and is done in place: nothing
//! is ever half done when the next thing is looked at.

mod pulse;
mod serving;
mod signals;
mod watchdog;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::api::{
    Answer, DaemonFacts, Failure, Insist, Order, Request, SchemaVersion, Silent, Talk,
};
use crate::clock::{Clock, SystemClock, boot_id};
use crate::control::{self, Ask, Replies, Server};
use crate::keeper::reload::first_fault;
use crate::keeper::text::text;
use crate::keeper::{Came, Ground, Keeper, footing};
use crate::kernel::Host;
use crate::kernel::watch::Watch;
use crate::metrics::{Exporter, Snapshot};
use crate::model::daemon::OnExit;
use crate::policy::Style;
use crate::store::RecordId;
use crate::units::Moment;
use pulse::Pulsed;
use serving::Serving;
use signals::{Signal, Signals};
use watchdog::Watchdog;

/// What a daemon is told when it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration directory.
    pub config: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// Where it listens to those who order.
    pub socket: PathBuf,
    /// Where it serves metrics.
    pub http: SocketAddr,
    /// How often it reads counters.
    pub sample: Duration,
    /// What it does with the kernel when it ends.
    pub on_exit: OnExit,
    /// How it is named to others that want the lock.
    pub holder: String,
}

/// Runs until it is told to end.
///
/// # Errors
/// Where it cannot begin: another is at work on the same state, a socket cannot be had.
pub fn run(settings: Settings) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut daemon = Daemon::begin(settings)?;
        daemon.serve().await;
        daemon.end();
        Ok(())
    })
}

struct Daemon {
    settings: Settings,
    keeper: Keeper,
    watch: Watch,
    signals: Signals,
    asks: tokio::sync::mpsc::Receiver<Ask>,
    _server: Server,
    /// Who waits for the change on its way.
    asker: Option<(RecordId, Replies)>,
    exporter: Exporter,
    snapshots: tokio::sync::watch::Sender<Arc<Snapshot>>,
    serving: Serving,
    watchdog: Rc<RefCell<Watchdog>>,
    sample_due: Moment,
}

impl Daemon {
    fn begin(settings: Settings) -> Result<Self, Failure> {
        let signals = Signals::listen()?;
        let places = settings.socket.parent().map(Path::to_owned);
        let places = places.into_iter().chain([std::env::temp_dir()]).collect();
        let found = footing::find(&settings.state, &settings.holder, places)?;
        let watchdog = Rc::new(RefCell::new(Watchdog::new()));
        let host = Host::open()?;
        let mut watch = Watch::open()?;
        watch.mute(host.port());
        let mut keeper = Keeper::new(Ground {
            config: settings.config.clone(),
            state: settings.state.clone(),
            kernel: Box::new(Pulsed::new(host, Rc::clone(&watchdog))),
            store: found.store,
            clock: Box::new(SystemClock),
            boot: boot_id()?,
            lock: found.lock,
            footing: found.footing,
        })?;
        let since = SystemClock.date();
        let facts = DaemonFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since,
        };
        keeper.runs_as(facts, settings.sample);
        let group = control::group()
            .map_err(|error| format!("cannot look up the group of the daemon's socket: {error}"))?;
        let (server, asks) = Server::bind(&settings.socket, group)?;
        let exporter = Exporter::new(env!("CARGO_PKG_VERSION"));
        let (snapshots, seen) = tokio::sync::watch::channel(exporter.snapshot());
        tracing::info!("listening at {}", settings.socket.display());
        let mut serving = Serving::new(settings.http, seen);
        if let Some(tried) = serving.look(SystemClock.now()) {
            keeper.serves(tried);
        }
        // Who asks from now on waits for what is to be finished first.
        Watchdog::ready();
        keeper.start(&mut Silent);
        Ok(Self {
            settings,
            keeper,
            watch,
            signals,
            asks,
            _server: server,
            asker: None,
            exporter,
            snapshots,
            serving,
            watchdog,
            sample_due: Moment::default(),
        })
    }

    /// The loop. Returns when the daemon is to end.
    async fn serve(&mut self) {
        loop {
            self.do_what_is_due();
            self.watchdog.borrow_mut().feed(SystemClock.now());
            let due = self.keeper.next_deadline();
            let due = due.map_or(self.sample_due, |due| due.min(self.sample_due));
            let pause = due.since(SystemClock.now());
            tokio::select! {
                signal = self.signals.next() => match signal {
                    Signal::End => return,
                    Signal::Reload => self.reload(),
                    Signal::Tell => self.tell(),
                },
                Some(ask) = self.asks.recv() => self.answer(ask),
                seen = self.watch.next() => {
                    tracing::debug!(?seen, "the kernel says");
                    self.keeper.seen();
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn do_what_is_due(&mut self) {
        let now = SystemClock.now();
        if self.sample_due <= now {
            // A sample that is late is not caught up with.
            self.sample_due = now.plus(self.settings.sample);
            if let Some(tried) = self.serving.look(now) {
                self.keeper.serves(tried);
            }
            self.keeper.sample();
            let status = Arc::new(self.keeper.status());
            self.snapshots.send_replace(self.exporter.publish(status));
        }
        while self
            .keeper
            .next_deadline()
            .is_some_and(|due| due <= SystemClock.now())
        {
            let came = match &mut self.asker {
                Some((_, replies)) => self.keeper.wake(replies),
                None => self.keeper.wake(&mut Silent),
            };
            if let Some(came) = came {
                self.over(came);
            }
            self.watchdog.borrow_mut().feed(SystemClock.now());
        }
        self.dismiss();
    }

    /// A change came to its end.
    fn over(&mut self, came: Result<Answer, Failure>) {
        match &came {
            Ok(answer) => tracing::info!("{}", answer.text.trim()),
            Err(failure) => tracing::error!("{failure}"),
        }
        if let Some((_, replies)) = self.asker.take() {
            match came {
                Ok(answer) => replies.done(answer),
                Err(failure) => replies.failed(failure),
            }
        }
    }

    /// Who waits for a change that another took the place of is told so.
    fn dismiss(&mut self) {
        let on_its_way = self.keeper.on_its_way();
        if let Some((change, replies)) = self
            .asker
            .take_if(|(change, _)| on_its_way != Some(*change))
        {
            let ended = format!(
                "change {} was ended by another order; see `wanshift history`",
                change.0
            );
            replies.failed(ended.into());
        }
    }

    fn answer(&mut self, ask: Ask) {
        let Ask {
            request,
            actor,
            mut replies,
        } = ask;
        let came = self.keeper.ask(&request, &actor, &mut replies);
        self.dismiss();
        match (came, self.keeper.on_its_way()) {
            (Ok(Came::Answer(answer)), _) => replies.done(answer),
            (Ok(Came::Underway), Some(change)) => self.asker = Some((change, replies)),
            (Ok(Came::Underway), None) => replies.failed("the change is gone".into()),
            (Err(failure), _) => {
                if !request.order.only_reads() {
                    let why = first_fault(&failure);
                    tracing::warn!("`{}` by {actor} failed: {why}", request.order.words());
                }
                replies.failed(failure);
            }
        }
    }

    /// Reads the files again. A policy that does not load changes nothing.
    fn reload(&mut self) {
        let request = Request {
            schema_version: SchemaVersion::NOW,
            order: Order::Apply {
                confirm_within: None,
                force: Insist::No,
            },
            config: None,
            state: None,
            session: None,
            on_behalf_of: None,
            style: Style::Plain,
        };
        let mut said = Logged;
        match self.keeper.reload(&request, "SIGHUP", &mut said) {
            Ok(Came::Answer(_)) => tracing::info!("reloaded: nothing is otherwise"),
            Ok(Came::Underway) => tracing::info!("reloaded"),
            Err(failure) => tracing::error!(
                "not reloaded, nothing was changed: {}",
                first_fault(&failure)
            ),
        }
        self.dismiss();
    }

    /// Logs how things are.
    fn tell(&mut self) {
        let status = self.keeper.status();
        for line in text(&status, &self.keeper.zone()).lines() {
            tracing::info!("{line}");
        }
    }

    fn end(mut self) {
        tracing::info!("ending");
        Watchdog::end();
        if self.settings.on_exit == OnExit::Teardown {
            let request = Request {
                schema_version: SchemaVersion::NOW,
                order: Order::Teardown,
                config: None,
                state: None,
                session: None,
                on_behalf_of: None,
                style: Style::Plain,
            };
            if let Err(failure) = self.keeper.ask(&request, "on_exit", &mut Logged) {
                tracing::error!("{failure}");
            }
        }
    }
}

/// Talk goes to the log as a warning: nobody else hears it.
struct Logged;

impl Talk for Logged {
    fn say(&mut self, line: &str) {
        tracing::warn!("{line}");
    }

    fn text(&mut self, _: &str) {}

    fn progress(&mut self, _: &str, _: crate::api::Milestone) {}
}
