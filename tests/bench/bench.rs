//! The measurements behind `scripts/bench`: whole things side by side, as ratios within one run.
//!
//! It is an example for cargo, as the demo is, and plays in the tests' own lab. A part is a file with a
//! function that fills in its rows.
//!
//! ```text
//! bench PROGRAM [--emulated] [PART...]
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "what goes wrong in a measurement ends the measurement"
)]

mod bare;
mod changes;
mod classes;
mod counters;
mod decide;
mod decision;
mod edge;
mod fireqos;
mod forwarding;
mod generator;
mod idle;
#[path = "../lab/mod.rs"]
mod lab;
mod leaves;
mod live;
mod many;
mod peer;
mod rates;
mod rules;
mod samples;
mod sheet;
mod shift;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use sheet::Sheet;

/// What a part has to work with.
pub struct Bench {
    /// The table.
    pub sheet: Sheet,
    /// The program.
    pub program: PathBuf,
    /// Whether the machine is emulated: then times say nothing of speed.
    pub emulated: bool,
}

/// Something that is measured by itself.
struct Part {
    name: &'static str,
    about: &'static str,
    run: fn(&mut Bench),
}

const PARTS: &[Part] = &[
    Part {
        name: "decide",
        about: "from a decision to a plan, one class of all changed",
        run: decide::run,
    },
    Part {
        name: "changes",
        about: "class changes in one HTB",
        run: changes::run,
    },
    Part {
        name: "counters",
        about: "the counters of all classes of one HTB",
        run: counters::run,
    },
    Part {
        name: "rules",
        about: "the rule set of 10,000 sites, in both directions",
        run: rules::run,
    },
    Part {
        name: "forwarding",
        about: "packets of 60 bytes through the edge",
        run: forwarding::run,
    },
    Part {
        name: "shift",
        about: "six shifts with both circuits full",
        run: shift::run,
    },
    Part {
        name: "fireqos",
        about: "a policy applied where nothing is",
        run: fireqos::run,
    },
    Part {
        name: "live",
        about: "all rates of 100 classes changed while bulk fills a line of 100 mbit",
        run: live::run,
    },
    Part {
        name: "rates",
        about: "a class held to a rate for 5 s, as the wire shows it",
        run: rates::run,
    },
    Part {
        name: "idle",
        about: "the daemon with 1,000 classes in both directions, a sample each second",
        run: idle::run,
    },
    Part {
        name: "leaves",
        about: "delay of 1,000 datagrams a second beside bulk in one class",
        run: leaves::run,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next().map(PathBuf::from) else {
        return usage("name the program");
    };
    let mut bench = Bench {
        sheet: Sheet::default(),
        program,
        emulated: false,
    };
    let mut wanted = Vec::new();
    for argument in arguments {
        let word = argument.to_string_lossy();
        match PARTS.iter().find(|part| part.name == word) {
            Some(part) => wanted.push(part),
            None if word == "--emulated" => bench.emulated = true,
            None => return usage(&format!("there is no part `{word}`")),
        }
    }
    if wanted.is_empty() {
        wanted = PARTS.iter().collect();
    }
    let _quiet = lab::quiet_machine();
    bench.sheet.head();
    for part in wanted {
        bench.sheet.part(part.name, part.about);
        if catch_unwind(AssertUnwindSafe(|| (part.run)(&mut bench))).is_err() {
            bench.sheet.unmeasured(part.name, "see above");
        }
    }
    if bench.sheet.end() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn usage(why: &str) -> ExitCode {
    let parts: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
    eprintln!("bench: {why}; parts are {}", parts.join(", "));
    ExitCode::from(2)
}
