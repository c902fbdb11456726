//! The play behind `scripts/demo`: capacity is shifted, live, and what arrives is measured.
//!
//! It is an example for cargo, so that `cargo test` and clippy build it and nothing runs it unasked. It
//! lies here because it plays in the tests' own lab: network namespaces that end with this process.
//!
//! ```text
//! demo PROGRAM [--quick]
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "what goes wrong in the play ends the play"
)]

mod edge;
#[path = "../lab/mod.rs"]
mod lab;
mod sheet;
mod traffic;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use edge::Edge;
use lab::snapshot::Snapshot;
use lab::{Lab, now, quiet_machine, sleep};
use sheet::Policy::{AtMost, Is, None as Nothing};
use sheet::{Page, Policy, Row};
use traffic::{Rates, Wires, arrivals, desktops, greedy, help_desk, measure, takers, wanted};

/// Desktops in use on a day at the office, and on the first day at home.
const OFFICE: u64 = 280;
const HOME: u64 = 1100;

/// How long figures are taken.
struct Pace {
    warm_up: Duration,
    long: Duration,
    short: Duration,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: demo PROGRAM [--quick]");
        return ExitCode::from(2);
    };
    let seconds = |quick, full| Duration::from_millis(if quick { 2500 } else { full });
    let quick = match arguments.next() {
        None => false,
        Some(word) if word == "--quick" => true,
        Some(word) => {
            eprintln!("demo: unknown argument {}", word.display());
            return ExitCode::from(2);
        }
    };
    let pace = Pace {
        warm_up: Duration::from_millis(1500),
        long: seconds(quick, 5000),
        short: seconds(quick, 3000),
    };
    let _quiet = quiet_machine();
    let begun = now();
    let mut page = Page::new();
    play(&mut page, program, &pace);
    if page.verdict((now() - begun) as f64 / 1e9) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn play(page: &mut Page, program: PathBuf, pace: &Pace) {
    page.line(STAGE);
    let lab = Lab::new();
    let edge = Edge::new(&lab, program);
    let before = Snapshot::of(lab.edge());

    page.act(
        "An ordinary day",
        &[
            "A fibre of 300 Mbit/s carries two circuits: MPLS to the sites has 200, the",
            "internet 100. 280 remote desktops of 140 kbit/s run beside a backup; files",
            "and two thin sites fill the MPLS circuit.",
        ],
    );
    for (name, path) in edge.settings() {
        page.command(&format!("export {name}={}", path.display()));
    }
    page.answer(&edge.run(page, &["check"]));
    page.answer(last_line(&edge.run(page, &["apply"])));
    let at_office = desktops(&lab, OFFICE);
    let greedy = greedy(&lab);
    let rates = measure(&lab, pace.warm_up, pace.long);
    side_by_side(page, OFFICE, [100.0, 200.0], &rates);
    at_office.stop();

    page.act(
        "Everybody is sent home",
        &[
            "1,100 desktops want 154 Mbit/s of a circuit that has 100. The gateway's class",
            "goes first and gets what there is, less the 2 % that the rest is promised.",
            "More than a third of what the desktops send is dropped.",
        ],
    );
    let at_home = desktops(&lab, HOME);
    let rates = measure(&lab, pace.warm_up, pace.short);
    page.table(
        "Mbit/s at the far end",
        &[
            row(
                "internet  desktops: 98 is all there is",
                Is(98.0),
                rates.desktops,
            ),
            row("internet  all", Is(100.0), rates.internet),
        ],
    );

    page.act(
        "The plan",
        &["What the phase `telework` would change, and why. Nothing is written yet."],
    );
    page.answer(&edge.run(page, &["plan", "--phase", "telework"]));

    page.act(
        "The shift",
        &[
            "Ten seconds, in small steps, all senders at full load. What one circuit gives",
            "up the other gets, never earlier. Measured is the second that just ended. The",
            "help desk's flow of 1,000 datagrams a second is watched for losses.",
        ],
    );
    shift(page, &lab, &edge, &at_home);

    page.act(
        "Telework",
        &[
            "The same 1,100 desktops beside the same backup: they have their 154, the backup",
            "takes what they leave. The thin sites kept theirs while their circuit shrank.",
        ],
    );
    let rates = measure(&lab, pace.warm_up, pace.long);
    side_by_side(page, HOME, [220.0, 80.0], &rates);
    at_home.stop();

    page.act(
        "Back to the office",
        &["The phase `nominal` has no ramp: it is there at once."],
    );
    let at_office = desktops(&lab, OFFICE);
    page.answer(last_line(&edge.run(page, &["phase", "nominal"])));
    let rates = measure(&lab, pace.warm_up, pace.short);
    side_by_side(page, OFFICE, [100.0, 200.0], &rates);
    at_office.stop();
    for flow in greedy {
        flow.stop();
    }

    page.act(
        "The other way",
        &[
            "What arrives is shaped, too. Session hosts download all that the internet gives;",
            "the site provins does so through the edge, and pays on both circuits: its tail",
            "holds. The site nemours sends, over a tail that is thinner in that direction.",
        ],
    );
    let takers = takers(&lab);
    let rates = arrivals(&lab, pace.warm_up, pace.long);
    page.table(
        "Mbit/s where it arrives",
        &[
            row(
                "internet  downloads, and what provins takes",
                Is(100.0),
                rates.downloads + rates.provins,
            ),
            row(
                "mpls      mds-provins, from the internet: tail",
                Is(4.0),
                rates.provins,
            ),
            row(
                "mpls      mds-nemours, what it sends: tail",
                Is(2.0),
                rates.nemours,
            ),
        ],
    );
    for flow in takers {
        flow.stop();
    }

    page.act(
        "Gone without a trace",
        &[
            "Queues, classes, rules, links and settings of the host are compared with what",
            "they were before the first command.",
        ],
    );
    page.answer(&edge.run(page, &["teardown"]));
    let left = before.changes(&Snapshot::of(lab.edge()));
    left.iter().for_each(|line| page.answer(line));
    page.table(
        "lines of difference",
        &[row(
            "the edge host, before and after",
            Nothing,
            left.len() as f64,
        )],
    );
}

const STAGE: &str = "
                                          ┌ provins   thin site, 4 Mbit/s
            lan0        mpls0 ── provider ┤
 datacentre ───── edge ┤                  └ nemours   thin site, 8 Mbit/s
                       wan0 ── internet   people at home, backup
 desktops' gateway
 session hosts         each a network namespace; nothing leaves this machine
 help desk             measured is what arrives at the far ends, headers counted";

fn row(what: impl Into<String>, policy: Policy, measured: f64) -> Row {
    Row {
        what: what.into(),
        policy,
        measured,
    }
}

/// `apply` and `phase` print the plan first, which an act of its own shows.
fn last_line(text: &str) -> &str {
    text.trim_end().lines().next_back().unwrap_or_default()
}

/// Desktops beside the backup, sites beside files, with shares for the internet and MPLS circuits.
fn side_by_side(page: &mut Page, sessions: u64, [internet, mpls]: [f64; 2], rates: &Rates) {
    let wanted = wanted(sessions);
    page.table(
        "Mbit/s at the far end",
        &[
            row(
                format!("internet  desktops: all that {sessions} ask for"),
                Is(wanted),
                rates.desktops,
            ),
            row(
                "internet  backup: what they leave",
                Is(internet - wanted),
                rates.backup,
            ),
            row("internet  all", Is(internet), rates.internet),
            row("mpls      mds-provins: its tail", Is(4.0), rates.provins),
            row("mpls      mds-nemours: its tail", Is(8.0), rates.nemours),
            row(
                "mpls      files: what they leave",
                Is(mpls - 12.0),
                rates.files,
            ),
            row("mpls      all", Is(mpls), rates.mpls),
        ],
    );
}

fn shift(page: &mut Page, lab: &Lab, edge: &Edge<'_>, at_home: &traffic::Desktops) {
    let calls = help_desk(lab);
    let wires = Wires::watch(lab);
    sleep(Duration::from_millis(500));
    let look = || {
        let [internet, mpls] = wires.seen();
        (now(), [internet, mpls, internet + mpls, at_home.received()])
    };
    let mut last = look();
    let head = "
         internet            mpls                both       desktops
         share    measured   share    measured   measured   get";
    let mut titled = false;
    let done = edge.follow(page, &["phase", "telework"], |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [
            percent,
            "%",
            "internet",
            internet,
            "mbit",
            "mpls",
            mpls,
            "mbit",
        ] = words[..]
        else {
            page.talk(line);
            return;
        };
        if !titled {
            page.answer(head);
            titled = true;
        }
        let next = look();
        let rate = |of: usize| {
            let seconds = (next.0 - last.0) as f64 / 1e9;
            (next.1[of] - last.1[of]) as f64 * 8.0 / 1e6 / seconds
        };
        page.answer(&format!(
            "{percent:>3} %{internet:>9}{:>12.1}{mpls:>8}{:>12.1}{:>11.1}{:>11.1}",
            rate(0),
            rate(1),
            rate(2),
            rate(3)
        ));
        last = next;
    });
    page.answer(&format!("\n{}", last_line(&done)));
    sleep(Duration::from_millis(500));
    let wires = wires.stop();
    let calls = calls.stop();
    page.table(
        "while it shifted",
        &[
            row(
                "both circuits in the busiest second, Mbit/s",
                AtMost(300.0),
                wires.busiest_second(),
            ),
            row(
                format!("help desk: lost of {} datagrams", calls.sent.len()),
                Nothing,
                calls.lost() as f64,
            ),
        ],
    );
    page.answer("\nBuckets hold 8 ms of their rate, so a second may carry 0.8 % above the pool.");
    page.answer(&format!(
        "The help desk's datagrams took {} µs, one in a hundred more than {} µs.",
        calls.delay(50.0).as_micros(),
        calls.delay(99.0).as_micros(),
    ));
}
