//! A host whose daemon is killed, and what is looked at then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wanshift::api::Status;
use wanshift::api::{Insist, Order, Request, SchemaVersion, Silent};
use wanshift::control::client::{ClientError, ask};
use wanshift::control::socket_for;
use wanshift::kernel::{Host, Kernel, Scope};
use wanshift::model::names::DeviceName;
use wanshift::plan::{PoolBound, breaches};
use wanshift::policy::Style;
use wanshift::store::Store;
use wanshift::units::Rate;

use crate::Chance;
use crate::common::daemon::{Daemon, PATIENCE};
use crate::common::host::{EdgeHost, assert_same, dump};
use crate::model::{
    Answered, Change, Deed, Ending, Files, Known, Phase, Settled, Stance, landing, legal, order,
    reset, rollback,
};

const FILE: &str = "policy.d/10-classes.toml";
/// What the two versions of the files say otherwise.
const LINES: [&str; 2] = ["guarantee = \"40mbit\"", "guarantee = \"30mbit\""];
/// Longer than any test of this file.
const LONG: Duration = Duration::from_secs(3_600);
/// A kill comes at the latest so long after what it is to hit.
const AFTERWARDS: Duration = Duration::from_millis(250);

pub struct Lab {
    number: u64,
    began: Instant,
    host: &'static EdgeHost,
    daemon: Option<Daemon<'static>>,
    ramp: Duration,
    /// The files as they are on disk.
    files: Files,
    /// How the kernel is where nothing was ever killed.
    clean: BTreeMap<Stance, Vec<String>>,
    pub kills: u64,
}

type Asked = JoinHandle<Result<(), ClientError>>;

impl Lab {
    /// A host on which every phase is ramped into, with a daemon.
    pub fn new(number: u64, ramp: Duration) -> Self {
        let ramp_text = format!("{}ms", ramp.as_millis());
        // It goes with the process: a daemon borrows it.
        let host = Box::leak(Box::new(EdgeHost::new(&ramp_text)));
        for phase in ["nominal", "upgraded"] {
            let head = format!("[phase.{phase}]");
            let ramped = format!("{head}\nramp = \"{ramp_text}\"");
            host.edit("policy.d/20-telework.toml", &head, &ramped);
        }
        Self {
            number,
            began: Instant::now(),
            host,
            daemon: Some(Daemon::start(host)),
            ramp,
            files: Files::One,
            clean: BTreeMap::new(),
            kills: 0,
        }
    }

    /// Tells what goes on, for the case that it fails.
    pub fn tell(&self, what: &str) {
        println!(
            "host {} at {:.3}: {what}",
            self.number,
            self.began.elapsed().as_secs_f64()
        );
    }

    /// Learns how the kernel is in every stance.
    pub fn learn(&mut self) -> Stance {
        let enter = |phase: Phase| Order::Phase {
            name: phase.name(),
            confirm_within: None,
            force: Insist::No,
        };
        let mut stance = self.stance();
        self.note(stance);
        for files in [Files::One, Files::Two] {
            self.write(files);
            stance.files = files;
            self.must(enter(Phase::Telework));
            stance.phase = Phase::Telework;
            self.note(stance);
            self.must(landing());
            (stance.phase, stance.landed) = (Phase::Upgraded, true);
            self.note(stance);
            self.must(enter(Phase::Nominal));
            stance.phase = Phase::Nominal;
            self.note(stance);
            self.must(reset());
            stance.landed = false;
            self.note(stance);
        }
        stance
    }

    /// Where a host begins.
    pub fn stance(&self) -> Stance {
        Stance {
            phase: Phase::Nominal,
            landed: false,
            files: self.files,
        }
    }

    fn note(&mut self, stance: Stance) {
        self.settled(&[stance.into()], "at the beginning");
        let found = dump();
        if let Some(known) = self.clean.insert(stance, found) {
            assert_same(&self.clean[&stance], &known, "the same stance again");
        }
    }

    /// Puts that version of the files where they are read.
    pub fn write(&mut self, files: Files) {
        if self.files != files {
            let (from, to) = match files {
                Files::One => (LINES[1], LINES[0]),
                Files::Two => (LINES[0], LINES[1]),
            };
            self.host.edit(FILE, from, to);
            self.files = files;
        }
    }

    fn request(order: Order) -> Request {
        Request {
            schema_version: SchemaVersion::NOW,
            order,
            config: None,
            state: None,
            session: None,
            on_behalf_of: None,
            style: Style::Plain,
        }
    }

    fn socket(&self, order: &Order) -> PathBuf {
        socket_for(&self.host.socket(), order)
    }

    fn ask(&self, order: Order) -> Asked {
        self.tell(&format!("ordered: {}", order.words()));
        let (socket, request) = (self.socket(&order), Self::request(order));
        std::thread::spawn(move || ask(&socket, &request, &mut Silent).map(|_| ()))
    }

    fn answered(&self, what: &str, asked: Asked) -> Answered {
        let answer = asked.join().unwrap();
        self.tell(&format!("{what}: {answer:?}"));
        match answer {
            Ok(()) => Answered::Done,
            Err(ClientError::Failed(_)) => Answered::Refused,
            Err(
                ClientError::NotRunning { .. }
                | ClientError::Unreachable { .. }
                | ClientError::Gone { .. },
            ) => Answered::Nothing,
            Err(
                error @ (ClientError::NotAllowed { .. }
                | ClientError::Garbage { .. }
                | ClientError::Left { .. }),
            ) => panic!("{error}"),
        }
    }

    /// Orders what must be done.
    pub fn must(&self, order: Order) {
        self.tell(&format!("must: {}", order.words()));
        ask(&self.socket(&order), &Self::request(order), &mut Silent).unwrap();
    }

    fn status(&self) -> Option<Status> {
        let socket = self.socket(&Order::Status);
        let answer = ask(&socket, &Self::request(Order::Status), &mut Silent).ok()?;
        Some(serde_json::from_value(answer.json).unwrap())
    }

    fn change_is_begun(&self) -> bool {
        self.status().is_some_and(|status| status.pending.is_some())
    }

    fn wait_until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !is(self) {
            assert!(
                began.elapsed() < PATIENCE,
                "{what} did not come: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::log).unwrap_or_default()
    }

    /// Does `deed` and kills the daemon meanwhile, looks at what that leaves, and starts it again. Gives what holds
    /// in the end.
    pub fn kill_during(&mut self, chance: &mut Chance, now: Stance, deed: Deed) -> Stance {
        let last = self.last_change();
        let mut known = Known {
            change: Answered::Unasked,
            begun: false,
            kept_out: self.keeps_out(),
            second: Answered::Unasked,
            event: Answered::Unasked,
            reset: Answered::Unasked,
        };
        let (mut change, mut second, mut event, mut resetting) = (None, None, None, None);
        let shortly = Duration::from_millis(40);
        match deed {
            Deed::Event => event = Some(self.ask(landing())),
            Deed::Reset => resetting = Some(self.ask(reset())),
            Deed::Change(what, ending) | Deed::EventDuring(what, ending) => {
                let within = match ending {
                    Ending::Plain | Ending::RolledBack => None,
                    Ending::Expires => Some(chance.within(2 * AFTERWARDS)),
                    Ending::Confirmed | Ending::TakenBack => Some(LONG),
                };
                if what == Change::Apply {
                    self.write(now.files.other());
                }
                let asked = self.ask(order(what, within));
                match ending {
                    Ending::Plain | Ending::Expires => {}
                    Ending::Confirmed | Ending::TakenBack => {
                        self.wait_until("the change", Self::change_is_begun);
                        std::thread::sleep(chance.within(self.ramp + shortly));
                        let confirmed = ending == Ending::Confirmed;
                        let order = if confirmed {
                            Order::Confirm
                        } else {
                            rollback()
                        };
                        second = Some(self.ask(order));
                    }
                    Ending::RolledBack => {
                        self.wait_until("its end", |_| asked.is_finished());
                        second = Some(self.ask(rollback()));
                    }
                }
                change = Some(asked);
            }
        }
        if let Deed::EventDuring(..) = deed {
            self.wait_until("the change", |lab| lab.last_change() > last);
            std::thread::sleep(chance.within(self.ramp));
            event = Some(self.ask(landing()));
        }
        std::thread::sleep(match (deed, &second) {
            (Deed::Change(_, Ending::RolledBack), _) => chance.within(self.ramp + AFTERWARDS),
            (_, Some(_)) | (Deed::Reset, _) => chance.within(shortly),
            (Deed::Change(_, Ending::Expires) | Deed::EventDuring(_, Ending::Expires), _) => {
                chance.within(2 * self.ramp + 2 * AFTERWARDS)
            }
            _ => chance.within(self.ramp + AFTERWARDS),
        });
        self.kill();
        let answered = |what, asked: Option<Asked>| {
            asked.map_or(Answered::Unasked, |asked| self.answered(what, asked))
        };
        known.change = answered("the change", change);
        known.second = answered("what followed", second);
        known.event = answered("the event", event);
        known.reset = answered("the reset", resetting);
        known.begun = self.last_change() > last;
        let legal = legal(now, deed, known);
        self.tell(&format!("killed: {known:?}: may come to {legal:?}"));
        self.assert_safe(now, deed, known);
        self.spawn();
        while chance.once_in(4) {
            std::thread::sleep(chance.within(self.ramp + AFTERWARDS));
            self.tell("killed again");
            self.kill();
            self.assert_safe(now, deed, known);
            self.spawn();
        }
        let legal: Vec<Settled> = legal.into_iter().collect();
        let settled = self.settled(&legal, "after the kill");
        let stance = self.decided(chance, now, settled);
        assert_same(
            &dump(),
            &self.clean[&stance],
            &format!(
                "host {}, kill {}: {deed:?} from {now:?}",
                self.number, self.kills
            ),
        );
        // Whatever was not to stay is not what the files say; the next is not to trip over that.
        self.write(stance.files);
        stance
    }

    /// Settles what waits to be confirmed, one way or the other.
    fn decided(&self, chance: &mut Chance, before: Stance, settled: Settled) -> Stance {
        if !settled.pending {
            return settled.stance;
        }
        let stance = if chance.once_in(2) {
            self.must(Order::Confirm);
            settled.stance.followed()
        } else {
            self.must(rollback());
            let landed = settled.stance.landed;
            Stance { landed, ..before }.followed()
        };
        self.settled(&[stance.into()], "once it is decided").stance
    }

    /// Kills the daemon, where one runs, and starts another.
    pub fn restart(&mut self) {
        if self.daemon.is_some() {
            self.kill();
        }
        self.spawn();
    }

    /// Has the daemon end, politely.
    pub fn end(&mut self) {
        assert!(self.daemon.take().unwrap().end().success());
    }

    /// Whether something is blocked.
    pub fn blocks(&self) -> bool {
        let state = Host::open().unwrap().observe(Scope::All).unwrap().state;
        state.table.is_some_and(|table| !table.blocks().is_empty())
    }

    /// Whether it is on disk that the upgrade has landed.
    pub fn landed(&self) -> bool {
        let store = Store::read(&self.host.state()).unwrap().unwrap();
        !store.latches().unwrap().names().is_empty()
    }

    fn spawn(&mut self) {
        let program = Command::new(env!("CARGO_BIN_EXE_wanshift"));
        self.daemon = Some(Daemon::spawn(self.host, program, &[]));
    }

    /// Kills the daemon.
    pub fn kill(&mut self) {
        self.daemon.take().unwrap().kill();
        self.kills += 1;
    }

    /// Whether the store remembers files that were taken back.
    fn keeps_out(&self) -> bool {
        let store = Store::read(&self.host.state()).unwrap().unwrap();
        let hash = store.remembered::<String>("taken_back").unwrap();
        hash.is_some_and(|hash| !hash.is_empty())
    }

    /// The number of the last change on record.
    fn last_change(&self) -> Option<i64> {
        let store = Store::read(&self.host.state()).unwrap()?;
        store.history().unwrap().first().map(|change| change.id.0)
    }

    /// Notes, as a daemon that was killed right then, that the change that waits goes back.
    pub fn turn_back(&self) {
        let mut store = Store::open(&self.host.state()).unwrap();
        let record = store.unfinished().unwrap().unwrap();
        let why = "rolled back by root";
        let undoing = wanshift::store::RecordState::Undoing;
        store.turn_back(record.id, undoing, why).unwrap();
    }

    /// What the dead daemon left conserves, and is blocked as it should be.
    fn assert_safe(&self, before: Stance, deed: Deed, known: Known) {
        let landed = self.landed();
        assert!(
            landed || known.event != Answered::Done,
            "what was reported is lost"
        );
        let state = Host::open().unwrap().observe(Scope::All).unwrap().state;
        let devices = ["mpls0", "wan0"].map(|name| name.parse::<DeviceName>().unwrap());
        let room = if landed || before.landed {
            "1gbit"
        } else {
            "300mbit"
        };
        let pools = [PoolBound {
            devices: BTreeSet::from(devices),
            room: room.parse().unwrap(),
        }];
        assert_eq!(breaches(&state, &pools), [], "{}", self.log());
        if landed {
            return;
        }
        let nominal: Rate = "200mbit".parse().unwrap();
        let moved = state
            .trees
            .get(&"mpls0".parse().unwrap())
            .is_some_and(|tree| {
                let mut tops = tree.classes.values().filter(|class| class.parent.is_none());
                tops.any(|top| top.rate != nominal)
            });
        let after = match deed {
            Deed::Change(change, _) | Deed::EventDuring(change, _) => before.after(change),
            Deed::Event | Deed::Reset => before,
        };
        let plain = matches!(deed, Deed::Change(_, Ending::Plain));
        let must = moved
            || before.blocks() && after.blocks()
            || plain && known.change == Answered::Done && after.blocks();
        let blocks = state.table.map(|table| table.blocks()).unwrap_or_default();
        assert!(
            blocks.len() == 1 || !must || before.landed,
            "the block is lifted: {}",
            self.log()
        );
    }

    /// Waits until one of `legal` holds and nothing is on its way, and gives that.
    pub fn settled(&self, legal: &[Settled], when: &str) -> Settled {
        let began = Instant::now();
        let mut last = None;
        loop {
            if let Some(status) = self.status() {
                let found = Self::found(&status, self);
                if let Some(found) = found.filter(|found| legal.contains(found)) {
                    self.tell(&format!("{when}: {found:?}"));
                    return found;
                }
                last = Some((found, status));
            }
            assert!(
                began.elapsed() < PATIENCE,
                "host {}: {when}: none of {legal:?} came, but {last:#?}\n{}",
                self.number,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What holds, where the daemon is well and at rest.
    fn found(status: &Status, lab: &Self) -> Option<Settled> {
        let phase = status.phase.as_ref()?;
        if !status.healthy || phase.shifting.is_some() {
            return None;
        }
        let phase = [Phase::Nominal, Phase::Telework, Phase::Upgraded]
            .into_iter()
            .find(|known| known.name() == phase.name)?;
        let landed = status.conditions.iter().any(|condition| condition.holds);
        // The files in force are told by what the gateway is promised.
        let store = Store::read(&lab.host.state()).ok()??;
        let policy = store.policy(store.intent().ok()??.policy?).ok()?;
        let two = policy
            .sources
            .iter()
            .any(|source| source.text.contains(LINES[1]));
        let files = if two { Files::Two } else { Files::One };
        Some(Settled {
            stance: Stance {
                phase,
                landed,
                files,
            },
            pending: status.pending.is_some(),
        })
    }
}
