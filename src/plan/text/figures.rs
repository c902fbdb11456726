//! The figures of a class, as they are told.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::model::circuit::LinkLayer;
use crate::model::class::Weight;
use crate::model::state::{Leaf, Role, TcClass};
use crate::units::Rate;

/// The figures of a class; of one that only gets another queue, the queue alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Figures {
    /// The place below which it hangs; none at the root.
    pub parent: Option<String>,
    /// What it has for certain.
    pub guarantee: Option<Rate>,
    /// What it never goes beyond.
    pub ceiling: Option<Rate>,
    /// Who is served first; none where it has classes below it.
    pub priority: Option<u8>,
    /// How spare capacity is divided within a priority; none where it has classes below it, or where the
    /// quantum is that of no weight.
    pub weight: Option<u32>,
    /// Bytes for each turn; none where it has classes below it.
    pub quantum: Option<u32>,
    /// Where its packets wait; none where it has classes below it.
    pub leaf: Option<Queue>,
    /// How long it may send at once at its guarantee, in nanoseconds.
    pub burst_ns: Option<u64>,
    /// How long it may send at once at its ceiling, in nanoseconds.
    pub ceiling_burst_ns: Option<u64>,
    /// Bytes that the link adds to each packet.
    pub overhead: Option<u16>,
    /// How the link frames packets.
    pub link_layer: Option<LinkLayer>,
}

/// A queueing discipline and its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Queue {
    kind: &'static str,
    settings: BTreeMap<&'static str, String>,
}

impl Figures {
    /// Those of a class below `parent`.
    pub(super) fn of(class: &TcClass, parent: Option<String>) -> Self {
        let (priority, quantum, leaf) = match class.role {
            Role::Inner => (None, None, None),
            Role::Leaf {
                priority,
                quantum,
                leaf,
            } => (Some(priority.get()), Some(quantum), Some(Queue::of(leaf))),
        };
        Self {
            parent,
            guarantee: Some(class.rate),
            ceiling: Some(class.ceil),
            priority,
            weight: None,
            quantum,
            leaf,
            burst_ns: Some(class.burst.nanoseconds()),
            ceiling_burst_ns: Some(class.cburst.nanoseconds()),
            overhead: Some(class.overhead.0),
            link_layer: Some(class.link_layer),
        }
    }

    /// Those of a class of which only the queue is known.
    pub(super) fn of_queue(leaf: Option<Leaf>) -> Self {
        Self {
            leaf: Some(Queue::of(leaf)),
            ..Self::default()
        }
    }
}

/// Tells the weights behind the quanta: that of what will be is known, and so is what its unit is.
pub(super) fn weigh(was: Option<&mut Figures>, will: Option<&mut Figures>, weight: Weight) {
    let Some(will) = will else { return };
    let Some(quantum) = will.quantum else { return };
    let weight = u32::from(weight.get());
    will.weight = Some(weight);
    if let Some(was) = was
        && let Some(before) = was.quantum
        && quantum.is_multiple_of(weight)
        && before.is_multiple_of(quantum / weight)
    {
        was.weight = Some(before / (quantum / weight));
    }
}

impl Queue {
    fn of(leaf: Option<Leaf>) -> Self {
        let number = |name, number: u32| (name, number.to_string());
        let (kind, settings) = match leaf {
            None => ("the kernel's own", vec![]),
            Some(Leaf::Pfifo { limit }) => ("pfifo", vec![number("limit", limit)]),
            Some(Leaf::Sfq { limit }) => ("sfq", vec![number("limit", limit)]),
            Some(Leaf::FqCodel {
                limit,
                target_us,
                interval_us,
            }) => (
                "fq_codel",
                vec![
                    number("limit", limit),
                    ("target", time(u64::from(target_us) * 1_000)),
                    ("interval", time(u64::from(interval_us) * 1_000)),
                ],
            ),
            Some(Leaf::Cake) => ("cake", vec![]),
            Some(Leaf::Other) => ("not ours", vec![]),
        };
        Self {
            kind,
            settings: settings.into_iter().collect(),
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        for (name, value) in &self.settings {
            write!(f, " {name} {value}")?;
        }
        Ok(())
    }
}

impl From<Queue> for String {
    fn from(queue: Queue) -> Self {
        queue.to_string()
    }
}

/// What differs between two sets of figures.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Differs {
    /// What it is promised.
    pub(super) promise: bool,
    /// Where its packets wait.
    pub(super) queue: bool,
    /// What its packets are on the link.
    pub(super) link: bool,
}

impl Differs {
    pub(super) fn between(was: &Figures, will: &Figures) -> Self {
        let promise = |figures: &Figures| Figures {
            leaf: None,
            overhead: None,
            link_layer: None,
            ..figures.clone()
        };
        let link = |figures: &Figures| (figures.overhead, figures.link_layer);
        let kind = |figures: &Figures| figures.leaf.as_ref().map(|leaf| leaf.kind);
        let promised = promise(was) != promise(will);
        Self {
            promise: promised,
            // A queue's settings follow the rates.
            queue: kind(was) != kind(will) || (!promised && was.leaf != will.leaf),
            link: link(was) != link(will),
        }
    }
}

/// What a class that comes is told of beside its rates.
pub(super) fn described(will: &Figures) -> String {
    let mut parts = Vec::new();
    parts.extend(will.priority.map(|priority| format!("prio {priority}")));
    parts.extend(
        will.weight
            .filter(|weight| *weight != 1)
            .map(|weight| format!("weight {weight}")),
    );
    parts.extend(will.leaf.as_ref().map(|leaf| leaf.kind.to_owned()));
    parts.extend(
        will.overhead
            .filter(|overhead| *overhead != 0)
            .map(|overhead| format!("overhead {overhead}")),
    );
    if will.link_layer == Some(LinkLayer::Atm) {
        parts.push("atm".to_owned());
    }
    parts.join(", ")
}

/// What changes beside the rates.
pub(super) fn changed(was: &Figures, will: &Figures) -> String {
    let mut parts = Vec::new();
    let mut part = |name: &str, was: Option<String>, will: Option<String>| {
        if was != will {
            let told = |side: Option<String>| side.unwrap_or_else(|| "none".to_owned());
            parts.push(format!("{name} {} → {}", told(was), told(will)));
        }
    };
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    part("below", was.parent.clone(), will.parent.clone());
    part(
        "prio",
        number(was.priority.map(u32::from)),
        number(will.priority.map(u32::from)),
    );
    if was.weight.is_some() && was.weight != will.weight {
        part("weight", number(was.weight), number(will.weight));
    } else {
        part("quantum", number(was.quantum), number(will.quantum));
    }
    let differs = Differs::between(was, will);
    if differs.queue {
        match (&was.leaf, &will.leaf) {
            (Some(was), Some(will)) if was.kind == will.kind => {
                for (name, value) in &was.settings {
                    let name_told = format!("{} {name}", was.kind);
                    part(
                        &name_told,
                        Some(value.clone()),
                        will.settings.get(name).cloned(),
                    );
                }
            }
            (was, will) => {
                let kind = |leaf: &Option<Queue>| leaf.as_ref().map(|leaf| leaf.kind.to_owned());
                part("leaf", kind(was), kind(will));
            }
        }
    }
    let overhead = |figures: &Figures| number(figures.overhead.map(u32::from));
    part("overhead", overhead(was), overhead(will));
    let layer = |figures: &Figures| {
        figures.link_layer.map(|layer| match layer {
            LinkLayer::Ethernet => "ethernet".to_owned(),
            LinkLayer::Atm => "atm".to_owned(),
        })
    };
    part("link_layer", layer(was), layer(will));
    // Bursts follow the rates.
    if (was.guarantee, was.ceiling) == (will.guarantee, will.ceiling) {
        part("burst", was.burst_ns.map(time), will.burst_ns.map(time));
        part(
            "ceiling burst",
            was.ceiling_burst_ns.map(time),
            will.ceiling_burst_ns.map(time),
        );
    }
    parts.join(", ")
}

fn time(nanoseconds: u64) -> String {
    let (unit, name) = if nanoseconds >= 1_000_000 {
        (1_000_000, "ms")
    } else {
        (1_000, "µs")
    };
    let (whole, part) = (nanoseconds / unit, nanoseconds % unit);
    let digits = if unit == 1_000_000 { 6 } else { 3 };
    let part = format!("{part:0digits$}");
    match part.trim_end_matches('0') {
        "" => format!("{whole}{name}"),
        part => format!("{whole}.{part}{name}"),
    }
}
