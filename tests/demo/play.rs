//! The story, act by act.

use std::path::PathBuf;
use std::time::Duration;

use crate::edge::{self, Daemon, Edge};
use crate::lab::snapshot::Snapshot;
use crate::lab::time::SECOND;
use crate::lab::{Lab, address, bulk, now, sleep};
use crate::ramp::Ramp;
use crate::sheet::Policy::{AtMost, Count, Is};
use crate::sheet::{Page, row};
use crate::traffic::{self, Desktops, Rates, Wires, arrivals, desktops, greedy, takers, wanted};
use crate::web::{self, Browsing, Try, how_many, refused_again};

/// Desktops in use on a day at the office, and on the first day at home.
const OFFICE: u64 = 280;
const HOME: u64 = 1100;
/// Mbit/s of the thin sites' tails, toward them.
const PROVINS: f64 = 4.0;
const NEMOURS: f64 = 8.0;
/// After which a refusal, and a repair, are late, in milliseconds.
const REFUSED: f64 = 100.0;
const REPAIRED: f64 = 1000.0;

/// How long figures are taken.
pub struct Pace {
    settle: Duration,
    long: Duration,
    short: Duration,
    /// Pages that are asked for over each port.
    pages: usize,
}

impl Pace {
    /// For one who watches.
    pub const FULL: Self = Self {
        settle: Duration::from_millis(1500),
        long: Duration::from_secs(5),
        short: Duration::from_secs(3),
        pages: 20,
    };
    /// For a script that only wants to know.
    pub const QUICK: Self = Self {
        settle: Duration::from_millis(1000),
        long: Duration::from_millis(2500),
        short: Duration::from_millis(2500),
        pages: 10,
    };
}

/// What the acts have in common.
struct Play<'a> {
    page: &'a Page,
    lab: &'a Lab,
    edge: &'a Edge<'a>,
    pace: &'a Pace,
}

/// Plays the whole story.
pub fn play(page: &Page, program: PathBuf, directory: PathBuf, pace: &Pace) {
    page.line(STAGE);
    page.live("building this network");
    let lab = Lab::new();
    web::serve(&lab);
    let edge = Edge::new(&lab, page, program, directory);
    let before = Snapshot::of(lab.edge());
    let play = Play {
        page,
        lab: &lab,
        edge: &edge,
        pace,
    };
    let (mut daemon, at_office, greedy) = play.an_ordinary_day();
    at_office.stop();
    let at_home = play.everybody_is_sent_home();
    play.plan();
    play.shift(&at_home);
    play.telework();
    play.browsing();
    play.flush();
    play.upgrade(&mut daemon);
    at_home.stop();
    play.back_to_normal();
    greedy.into_iter().for_each(|flow| drop(flow.stop()));
    play.other_way();
    play.gone(daemon, &before);
}

const STAGE: &str = "
                                          ┌ provins   thin site, 4 Mbit/s
            lan0        mpls0 ── provider ┤
 datacentre ───── edge ┤                  └ nemours   thin site, 8 Mbit/s
                       wan0 ── internet   people at home, web, backup
 desktops' gateway
 session hosts         each a network namespace; nothing leaves this machine
 help desk             measured is what arrives at the far ends, with headers";

impl Play<'_> {
    fn an_ordinary_day(&self) -> (Daemon<'_>, Desktops, [bulk::Running; 4]) {
        self.page.act(
            "An ordinary day",
            &[
                "One fibre of 300 Mbit/s carries two circuits: MPLS to the sites has 200, the",
                "internet 100. 280 remote desktops of 140 kbit/s each run beside a backup.",
            ],
        );
        self.edge.settle();
        let daemon = self.edge.start_daemon();
        self.edge.head("status", 9);
        let at_office = desktops(self.lab, OFFICE);
        let greedy = greedy(self.lab);
        self.side_by_side(OFFICE, [100.0, 200.0], self.pace.long);
        (daemon, at_office, greedy)
    }

    fn everybody_is_sent_home(&self) -> Desktops {
        self.page.act(
            "Everybody is sent home",
            &[
                "1,100 desktops want 154 Mbit/s of a circuit that has 100. They go first, but",
                "for 2 % that the rest is promised. A third of what they send is dropped.",
            ],
        );
        let at_home = desktops(self.lab, HOME);
        self.page.measured("Mbit/s at the far end", || {
            let rates = self.rates(self.pace.short);
            vec![
                row(
                    "internet  desktops: 98 is all there is",
                    Is(98.0),
                    rates.desktops,
                ),
                row("internet  all", Is(100.0), rates.internet),
            ]
        });
        at_home
    }

    fn plan(&self) {
        self.page.act(
            "The plan",
            &[
                "What the phase `telework` would change in the kernel; nothing is written yet.",
                "Its last column, file and line of the policy, is cut off here to fit.",
            ],
        );
        let plan = self.edge.run(&["plan", "--phase", "telework"]);
        self.page.answer(&edge::without_reasons(&plan));
    }

    fn shift(&self, at_home: &Desktops) {
        self.page.act(
            "The shift",
            &[
                "Ten seconds of small steps, under full load: what MPLS gives up the internet",
                "gets. `measured` is the second that just ended, so it lags behind the share.",
            ],
        );
        let calls = traffic::help_desk(self.lab);
        let wires = Wires::watch(self.lab);
        sleep(Duration::from_millis(500));
        let mut ramp = Ramp::new(&wires, at_home);
        let order = ["phase", "telework", "--confirm-within", "10m"];
        let told = self.edge.follow(&order, |line| match ramp.row(line) {
            Some(row) => self.page.answer(&row),
            None => self.page.talk(line),
        });
        let done = told.find("Done:").unwrap_or_default();
        self.page.answer(&format!("\n{}", &told[done..]));
        sleep(Duration::from_millis(500));
        let (wires, calls) = (wires.stop(), calls.stop());
        // Not measured again where they are off: what was too much on the wire, or lost, was so.
        self.page.table(
            "while it shifted",
            &[
                row(
                    "both circuits in the busiest second, Mbit/s",
                    AtMost(300.0),
                    wires.busiest_second(),
                ),
                row(
                    format!("help desk: datagrams that arrived, of {}", calls.sent.len()),
                    Count(calls.sent.len()),
                    (calls.sent.len() - calls.lost()) as f64,
                ),
            ],
        );
        self.page.remark(&[
            "Buckets hold 8 ms of their rate, so a second may carry 0.8 % above the pool.",
            &format!(
                "The help desk's datagrams took {:.2} ms, one in a hundred {:.1} ms or more.",
                ms(calls.delay(50.0)),
                ms(calls.delay(99.0)),
            ),
        ]);
    }

    fn telework(&self) {
        self.page.act(
            "Telework, looked at and confirmed",
            &[
                "The desktops have their 154, the backup takes what they leave, the thin sites",
                "kept theirs. Without `confirm` all that would be undone in ten minutes.",
            ],
        );
        self.side_by_side(HOME, [220.0, 80.0], self.pace.long);
        self.page.answer(&self.edge.run(&["confirm"]));
    }

    fn browsing(&self) {
        self.page.act(
            "Browsing is refused, the web applications work",
            &[
                "Until there is more capacity, session hosts may not browse: their connections",
                "are refused at once. The web applications stay. All that beside the traffic.",
            ],
        );
        let count = self.pace.pages * web::PORTS.len();
        let mut fetched = Vec::new();
        self.page
            .measured("from a session host, ports 80 and 443", || {
                self.page.live("asking for pages");
                let refused = web::tries(self.lab, address::WEB, self.pace.pages);
                fetched = web::tries(self.lab, address::SHORTCUTS, self.pace.pages);
                let [median, _] = web::times(&refused);
                vec![
                    row(
                        "the internet: connections refused",
                        Count(count),
                        how_many(&refused, Try::refused),
                    ),
                    row(
                        "the internet: ms until refused, the median",
                        AtMost(REFUSED),
                        ms(median),
                    ),
                    row(
                        "web applications: pages fetched",
                        Count(count),
                        how_many(&fetched, Try::fetched),
                    ),
                ]
            });
        let [median, worst] = web::times(&fetched);
        self.page.remark(&[&format!(
            "A page took {:.0} ms in the median, {:.0} ms at worst, in the backup's queue.",
            ms(median),
            ms(worst)
        )]);
        self.page.answer(&self.edge.run(&["status"]));
    }

    fn flush(&self) {
        self.page.act(
            "Somebody flushes the packet filter",
            &[
                "and loads the host's own rules, as Debian's `systemctl reload nftables` does.",
                "All of ours is gone, the block too, until the daemon hears of it.",
            ],
        );
        let mut slipped = 0.0;
        let mut once = || {
            let browsing = Browsing::start(self.lab);
            self.page
                .wait("browsing goes on", Duration::from_millis(500));
            self.edge.flush();
            let flushed = now();
            self.page
                .wait("browsing goes on", Duration::from_millis(1500));
            let tries = browsing.stop();
            slipped = how_many(&tries, |one| !one.refused());
            vec![row(
                "browsing is refused again, ms after the flush",
                AtMost(REPAIRED),
                refused_again(&tries, flushed),
            )]
        };
        self.page.measured("from a session host", &mut once);
        self.page.remark(&[&format!(
            "Connections that were not refused meanwhile: {slipped:.0}."
        )]);
        self.edge.tail("status", 2);
    }

    fn upgrade(&self, daemon: &mut Daemon<'_>) {
        self.page.act(
            "The upgrade lands",
            &[
                "The fibre carries 1 Gbit/s now. Somebody reports that; the rest follows from",
                "the policy: the block lifts, capacity grows, the phase `upgraded` begins.",
            ],
        );
        let reported = now();
        self.page
            .answer(&self.edge.run(&["event", "uplink-upgraded"]));
        let lifted = loop {
            let tries = web::tries(self.lab, address::WEB, 1);
            if tries.iter().all(Try::fetched) {
                break now();
            }
            assert!(now() < reported + 20 * SECOND, "browsing stays refused");
        };
        daemon.wait_for_phase("upgraded");
        self.page.table(
            "from a session host",
            &[row(
                "pages of the internet, ms after the report",
                AtMost(REPAIRED),
                (lifted - reported) as f64 / 1e6,
            )],
        );
        self.side_by_side(HOME, [800.0, 200.0], self.pace.long);
        self.edge.head("status", 9);
    }

    fn back_to_normal(&self) {
        self.page.act(
            "Back to normal",
            &["The phase `nominal` has no ramp: it is there at once. So are 280 desktops."],
        );
        let at_office = desktops(self.lab, OFFICE);
        let told = self.edge.run(&["phase", "nominal"]);
        let done = told.find("Done:").unwrap_or_default();
        self.page.answer(&told[done..]);
        self.side_by_side(OFFICE, [100.0, 200.0], self.pace.short);
        at_office.stop();
    }

    fn other_way(&self) {
        self.page.act(
            "The other way",
            &[
                "What arrives is shaped, too. Session hosts and provins download all they can",
                "from the internet; nemours sends, over a tail that is thinner that way.",
            ],
        );
        let takers = takers(self.lab);
        self.page.measured("Mbit/s where it arrives", || {
            self.page.wait("traffic settles", self.pace.settle);
            let rates = arrivals(
                self.lab,
                |time| self.page.wait("measuring", time),
                self.pace.long,
            );
            vec![
                row(
                    "internet  downloads, and what provins takes",
                    Is(100.0),
                    rates.downloads + rates.provins,
                ),
                row(
                    "mpls      mds-provins, from the internet: tail",
                    Is(PROVINS),
                    rates.provins,
                ),
                row(
                    "mpls      mds-nemours, what it sends: tail",
                    Is(2.0),
                    rates.nemours,
                ),
            ]
        });
        takers.into_iter().for_each(|flow| drop(flow.stop()));
    }

    fn gone(&self, daemon: Daemon<'_>, before: &Snapshot) {
        self.page.act(
            "Gone without a trace",
            &[
                "Queues, classes, filters, rules, links, routes and settings of the edge host,",
                "compared with what they were before the first command.",
            ],
        );
        self.page.answer(&self.edge.run(&["teardown"]));
        daemon.end();
        self.page.live("comparing");
        let left = before.changes(&Snapshot::of(self.lab.edge()));
        left.iter().for_each(|line| self.page.answer(line));
        self.page.table(
            "in the kernel",
            &[row("lines that differ", Count(0), left.len() as f64)],
        );
    }

    fn rates(&self, duration: Duration) -> Rates {
        self.page.wait("traffic settles", self.pace.settle);
        traffic::measure(self.lab, |time| self.page.wait("measuring", time), duration)
    }

    /// Desktops beside the backup, sites beside files, with shares for the internet and MPLS circuits.
    fn side_by_side(&self, sessions: u64, [internet, mpls]: [f64; 2], duration: Duration) {
        let wanted = wanted(sessions);
        let asking = grouped(sessions);
        self.page.measured("Mbit/s at the far end", || {
            let rates = self.rates(duration);
            vec![
                row(
                    format!("internet  desktops: all that {asking} ask for"),
                    Is(wanted),
                    rates.desktops,
                ),
                row(
                    "internet  backup: what they leave",
                    Is(internet - wanted),
                    rates.backup,
                ),
                row("internet  all", Is(internet), rates.internet),
                row(
                    "mpls      mds-provins: its tail",
                    Is(PROVINS),
                    rates.provins,
                ),
                row(
                    "mpls      mds-nemours: its tail",
                    Is(NEMOURS),
                    rates.nemours,
                ),
                row(
                    "mpls      files: what they leave",
                    Is(mpls - PROVINS - NEMOURS),
                    rates.files,
                ),
                row("mpls      all", Is(mpls), rates.mpls),
            ]
        });
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// With a comma between thousands.
fn grouped(number: u64) -> String {
    match (number / 1000, number % 1000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}
