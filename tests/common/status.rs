//! A status that has something of everything, for tests of what is told of it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;

use wanshift::api::{
    BlockState, BlockStatus, CircuitStatus, ClassStatus, ConditionStatus, DaemonFacts,
    DirectionStatus, LastChange, Line, Outcome, Pending, PhaseFacts, PolicyFacts, Problem, Repairs,
    Sampling, Stage, Status,
};
use wanshift::model::names::PhaseName;
use wanshift::units::Rate;

pub const AT: &str = "2026-11-22T03:00:00Z";

pub fn rate(bits: u64) -> Rate {
    Rate::from_bits(bits).unwrap()
}

pub fn direction(share: u64) -> DirectionStatus {
    DirectionStatus {
        share: rate(share),
        capacity: rate(100_000_000),
        rate: Some(9_600_000.0),
        bytes: 1_200_000,
        hot_seconds: 12.5,
        saturated_seconds: 2.5,
    }
}

pub fn line(guarantee: u64) -> Line {
    Line {
        guarantee: rate(guarantee),
        ceiling: rate(guarantee * 2),
        rate: Some(1_000.0),
        bytes: 500,
        packets: 5,
        drops: 1,
        backlog_bytes: 60,
    }
}

pub fn circuit(name: &str) -> CircuitStatus {
    CircuitStatus {
        name: name.parse().unwrap(),
        device: format!("{name}0").parse().unwrap(),
        present: true,
        pool: None,
        up: direction(10_000_000),
        down: Some(direction(20_000_000)),
    }
}

pub fn class(place: &str) -> ClassStatus {
    ClassStatus {
        place: place.parse().unwrap(),
        up: Some(line(1_000_000)),
        down: Some(line(2_000_000)),
    }
}

pub fn block(name: &str) -> BlockStatus {
    BlockStatus {
        name: name.parse().unwrap(),
        state: BlockState::Holding,
        because: "the phase brings it".to_owned(),
        since: Some(AT.parse().unwrap()),
        planned_until: Some("2026-12-01T00:00:00Z".parse().unwrap()),
        rejected_packets: 42,
    }
}

pub fn problem(stage: Stage) -> Problem {
    Problem {
        stage,
        what: "it does not work: do something".to_owned(),
        since: AT.parse().unwrap(),
    }
}

/// Two circuits in two phases, with classes, a block, a condition and a change that waits.
pub fn status() -> Status {
    let phases: Vec<PhaseName> = ["nominal", "telework"]
        .map(|name| name.parse().unwrap())
        .into();
    Status {
        host: "edge-1".to_owned(),
        at: AT.parse().unwrap(),
        daemon: Some(DaemonFacts {
            version: "1.2.3".to_owned(),
            pid: 77,
            since: AT.parse().unwrap(),
        }),
        healthy: true,
        problems: Vec::new(),
        policy: Some(PolicyFacts {
            hash: "0".repeat(64),
            files: Vec::new(),
            since: AT.parse().unwrap(),
        }),
        phase: Some(PhaseFacts {
            holds: wanshift::api::Holds::Whole,
            name: phases[1].clone(),
            since: AT.parse().unwrap(),
            by: "root".to_owned(),
            because: "phase telework".to_owned(),
            until: None,
            shifting: None,
        }),
        phases,
        circuits: vec![circuit("internet"), circuit("mpls")],
        classes: [
            "internet.control",
            "internet.class.gateway",
            "internet.rest",
            "mpls.site.provins.class.voice",
        ]
        .map(class)
        .into(),
        blocks: vec![block("streaming")],
        conditions: vec![ConditionStatus {
            name: "line-upgraded".parse().unwrap(),
            holds: true,
            since: Some(AT.parse().unwrap()),
            because: "event `upgraded`".to_owned(),
        }],
        pending: Some(Pending {
            change: 7,
            what: "phase telework".to_owned(),
            by: "root".to_owned(),
            ordered: AT.parse().unwrap(),
            seconds_left: 540,
        }),
        files_taken_back: false,
        stuck: None,
        last_change: Some(LastChange {
            change: 6,
            what: "apply".to_owned(),
            by: "root".to_owned(),
            at: AT.parse().unwrap(),
            outcome: Outcome::Done,
        }),
        repairs: Repairs {
            count: 3,
            last: Some(AT.parse().unwrap()),
            what: None,
            changes: Vec::new(),
            more: 0,
        },
        failures: BTreeMap::from([(Stage::Apply, 2)]),
        sampling: Some(Sampling {
            interval_seconds: 1.0,
            last: Some(AT.parse().unwrap()),
        }),
    }
}
