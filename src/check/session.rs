//! Whether what is ordered would cut the ssh session that it is ordered from.
//!
//! The way out is not shaped away, but a ceiling near nothing is as bad: the order's own answer would not come
//! back, nor the one that takes it back be heard.

use std::fmt;
use std::sync::Arc;

use crate::engine::Engine;
use crate::lower::places_of_replies;
use crate::model::desired::{Desired, Reason};
use crate::model::names::{CircuitName, DeviceName, PhaseName};
use crate::model::node::NodeKey;
use crate::model::session::Session;
use crate::policy::Policy;
use crate::units::Rate;

/// What a session needs upward at the least.
pub const NEEDED: Rate = Rate::KBIT_64;

/// A session that a phase would cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The session.
    pub session: Session,
    /// The circuit over which its replies leave.
    pub circuit: CircuitName,
    /// The device by which they do.
    pub device: DeviceName,
    /// The place in which they fall.
    pub place: NodeKey,
    /// What that would never go beyond.
    pub ceiling: Rate,
    /// Where that was written.
    pub why: Reason,
}

/// What `phase` would do to `session`, the replies of which leave by `device`; `None` where it goes on.
#[must_use]
pub fn cut(
    policy: &Arc<Policy>,
    phase: &PhaseName,
    session: &Session,
    device: &DeviceName,
) -> Option<Cut> {
    let circuit = policy
        .circuits()
        .values()
        .find(|circuit| circuit.device == *device || circuit.also.contains(device))?;
    let engine = Engine::holding(Arc::clone(policy), phase.clone()).ok()?;
    let goal = engine.goal();
    let ceiling = |key: &NodeKey| goal.nodes.get(key).map(|holding| holding.ceiling.up);
    let (ceiling, place) = places_of_replies(policy, &circuit.name, session)
        .into_iter()
        .filter_map(|key| Some((ceiling(&key)?, key)))
        .min_by_key(|(ceiling, _)| *ceiling)
        .filter(|(ceiling, _)| *ceiling < NEEDED)?;
    let grounds = engine.reasons().remove(&decisive(&goal, &place))?;
    Some(Cut {
        session: session.clone(),
        circuit: circuit.name.clone(),
        device: device.clone(),
        place,
        ceiling,
        why: grounds.figures,
    })
}

/// The place whose ceiling it is: a place never goes beyond the one above it.
fn decisive(goal: &Desired, place: &NodeKey) -> NodeKey {
    let mut decisive = place.clone();
    let ceiling = |key: &NodeKey| goal.nodes.get(key).map(|holding| holding.ceiling.up);
    while let Some(above) = decisive.parent()
        && ceiling(&above) == ceiling(place)
    {
        decisive = above;
    }
    decisive
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match &self.why.origin {
            Some(origin) => format!("{origin} {}", self.why.what),
            None => self.why.what.clone(),
        };
        write!(
            f,
            "phase `{}` would cut the ssh session that this is ordered from: its replies to {} leave over circuit `{}` (device {}) \
             in {}, which then never sends faster than {} ({origin}); it needs {NEEDED}",
            self.why.phase,
            self.session.client,
            self.circuit,
            self.device,
            self.place,
            self.ceiling,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Source, read};

    const TEXT: &str = r#"name = "hub"
timezone = "Europe/Paris"
[circuit.wan]
device = "wan0"
also = ["wg0"]
capacity = { up = "9mbit", down = "9mbit" }
[policy]
start = "nominal"
[phase.nominal]
[phase.strict]
class.hand = { ceiling = { up = "32kbit", down = "32kbit" } }
site.near.capacity = { up = "56kbit", down = "9mbit" }
[class.hand]
circuit = "wan"
match = [{ from = ["203.0.113.0/24"], service = ["tcp/2222"] }]
[class.marked]
circuit = "wan"
match = [{ dscp = ["ef"], from = ["192.0.2.0/24"] }]
ceiling = "63kbit"
[site.far]
circuit = "wan"
prefixes = ["10.1.0.0/16"]
capacity = { up = "64kbit", down = "8kbit" }
[site.near]
circuit = "wan"
prefixes = ["10.2.0.0/16"]
capacity = "1mbit"
guarantee = "20kbit"
[site.near.class.inner]
match = [{ from = ["10.2.0.0/24"] }]
ceiling = "50%"
"#;

    fn ask(phase: &str, session: &str, device: &str) -> Option<Cut> {
        let source = Source {
            name: "host.toml".into(),
            text: TEXT.into(),
        };
        let policy = read(&[source]).unwrap_or_else(|faults| panic!("{faults}"));
        cut(
            &Arc::new(policy),
            &phase.parse().unwrap(),
            &session.parse().unwrap(),
            &device.parse().unwrap(),
        )
    }

    #[test]
    fn a_ceiling_that_is_too_low_is_told_with_its_place() {
        let cut = ask("strict", "203.0.113.7 50122 198.51.100.1 2222", "wan0").unwrap();
        assert_eq!(
            cut.to_string(),
            "phase `strict` would cut the ssh session that this is ordered from: its replies to 203.0.113.7 leave over \
             circuit `wan` (device wan0) in wan.class.hand, which then never sends faster than 32kbit \
             (host.toml:11 class.hand); it needs 64kbit"
        );
        assert!(ask("strict", "203.0.113.7 50122 198.51.100.1 2222", "wg0").is_some());
    }

    #[test]
    fn the_place_above_is_named_where_it_is_what_bounds() {
        let cut = ask("strict", "10.2.7.7 50122 198.51.100.1 2222", "wan0").unwrap();
        assert_eq!(cut.place.to_string(), "wan.site.near.rest");
        assert_eq!(cut.ceiling.to_string(), "56kbit");
        assert_eq!(cut.why.what, "site.near");
        assert_eq!(cut.why.origin.unwrap().line, 12);
        let cut = ask("strict", "10.2.0.7 50122 198.51.100.1 2222", "wan0").unwrap();
        assert_eq!(cut.place.to_string(), "wan.site.near.class.inner");
        assert_eq!(
            (cut.ceiling.to_string(), cut.why.what),
            ("28kbit".to_owned(), "class".to_owned())
        );
    }

    #[test]
    fn a_class_that_the_session_may_be_in_counts() {
        let cut = ask("nominal", "192.0.2.7 50122 198.51.100.1 2222", "wan0").unwrap();
        assert_eq!(cut.place.to_string(), "wan.class.marked");
    }

    #[test]
    fn what_has_enough_or_goes_elsewhere_is_not_cut() {
        for (phase, session, device) in [
            // Upward is what counts, and 64 kbit are enough.
            ("nominal", "203.0.113.7 50122 198.51.100.1 2222", "wan0"),
            ("nominal", "10.2.7.7 50122 198.51.100.1 2222", "wan0"),
            ("strict", "10.1.0.7 50122 198.51.100.1 2222", "wan0"),
            ("strict", "203.0.113.7 50122 198.51.100.1 22", "wan0"),
            ("strict", "203.0.113.7 50122 198.51.100.1 2222", "lan0"),
            ("none", "203.0.113.7 50122 198.51.100.1 2222", "wan0"),
        ] {
            assert_eq!(
                ask(phase, session, device),
                None,
                "{phase} {session} {device}"
            );
        }
    }
}
