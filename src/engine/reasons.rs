//! Why each place is as it is: where that which decides it was written.

use std::collections::BTreeMap;

use crate::model::circuit::Circuit;
use crate::model::class::{Class, Site, SiteClass};
use crate::model::desired::{BlockGrounds, Grounds, Hold, Reason, Reasons, Standing};
use crate::model::hold::{Block, Established};
use crate::model::names::{BlockName, ClassName, Origin, PhaseName, SiteName};
use crate::model::node::Place;
use crate::model::phase::Phase;
use crate::policy::Policy;

/// The reasons for each place in `phase`, and for each block, of which `held` hold.
pub fn reasons(
    policy: &Policy,
    phase: &PhaseName,
    held: &BTreeMap<BlockName, Hold>,
    standing: &Standing,
) -> Reasons {
    let Some(phase) = policy.phases().get(phase) else {
        return Reasons::default();
    };
    let writing = Writing {
        policy,
        phase,
        classes: policy
            .classes()
            .iter()
            .map(|class| (&class.name, class))
            .collect(),
    };
    let places = policy
        .promises(phase)
        .into_iter()
        .filter_map(|(key, holding)| {
            let circuit = policy.circuits().get(&key.circuit)?;
            let grounds = Grounds {
                weight: holding.weight,
                figures: writing.figures(circuit, &key.place),
                queue: writing.queue(circuit, &key.place),
                link: writing.circuit(circuit),
                rules: writing.rules(circuit, &key.place),
            };
            Some((key, grounds))
        })
        .collect();
    let blocks = policy.blocks().values();
    let blocks = blocks.map(|block| {
        let grounds = writing.block(block, held.get(&block.name).copied(), standing);
        (block.name.clone(), grounds)
    });
    Reasons {
        places,
        blocks: blocks.collect(),
    }
}

/// What was written, and what of it holds.
struct Writing<'a> {
    policy: &'a Policy,
    phase: &'a Phase,
    classes: BTreeMap<&'a ClassName, &'a Class>,
}

impl Writing<'_> {
    /// Why a block holds or does not, and where it is said what it is about.
    fn block(&self, block: &Block, held: Option<Hold>, standing: &Standing) -> BlockGrounds {
        let phase = &self.phase.name;
        let brought = self.phase.blocks.contains(&block.name);
        let rests = standing.resting.contains(&block.name);
        let rules = match (held, block.established) {
            (Some(Hold::Rejecting), Established::Drain(_)) => "drain over",
            (None | Some(Hold::Draining | Hold::Rejecting), _) => "block",
        };
        let rules = self.reason(rules, Some(&block.origin));
        let held = match (&block.schedule, &block.until) {
            _ if held.is_some() => self.reason(format!("phase.{phase}"), Some(&self.phase.origin)),
            _ if !brought => self.reason(format!("not in phase.{phase}"), Some(&self.phase.origin)),
            (Some(schedule), _) if rests => {
                self.reason(format!("schedule {schedule}"), Some(&block.origin))
            }
            (_, Some(until)) => self.reason(format!("lifted by {until}"), Some(&block.origin)),
            (_, None) => rules.clone(),
        };
        BlockGrounds { held, rules }
    }

    /// Where its guarantee, ceiling, priority and weight come from.
    fn figures(&self, circuit: &Circuit, place: &Place) -> Reason {
        match place {
            Place::Circuit => self.share(circuit),
            // These are parts of the share: it moves them.
            Place::Control => part("1% of share", self.share(circuit)),
            Place::Rest => self
                .rest(circuit)
                .unwrap_or_else(|| part("2% of share", self.share(circuit))),
            Place::Class(name) => match self.phase.classes.get(name) {
                Some(over) => self.reason(format!("class.{name}"), Some(&over.origin)),
                None => self.class(name),
            },
            Place::Site(name) => match self.phase.sites.get(name) {
                Some(over) => self.reason(format!("site.{name}"), Some(&over.origin)),
                None => self.site(name),
            },
            Place::SiteRest(site) => part(
                "2% of site",
                self.figures(circuit, &Place::Site(site.clone())),
            ),
            Place::SiteClass(site, class) => self.inner(site, class),
        }
    }

    /// Where the choice of its queue comes from.
    fn queue(&self, circuit: &Circuit, place: &Place) -> Reason {
        let chosen = match place {
            Place::Class(name) => {
                let over = self.phase.classes.get(name);
                let class = self.classes.get(name);
                if over.is_some_and(|over| over.leaf.is_some()) {
                    Some(self.figures(circuit, place))
                } else if class.is_some_and(|class| class.terms.leaf.is_some()) {
                    Some(self.class(name))
                } else {
                    None
                }
            }
            Place::SiteClass(site, class) => self
                .inner_class(site, class)
                .filter(|inner| inner.terms.leaf.is_some())
                .map(|_| self.inner(site, class)),
            Place::Rest => self
                .policy
                .rests()
                .get(&circuit.name)
                .filter(|rest| rest.terms.leaf.is_some())
                .and_then(|_| self.rest(circuit)),
            Place::Circuit | Place::Control | Place::Site(_) | Place::SiteRest(_) => None,
        };
        chosen.unwrap_or_else(|| self.circuit(circuit))
    }

    /// Where it is said which packets are its own.
    fn rules(&self, circuit: &Circuit, place: &Place) -> Reason {
        match place {
            Place::Circuit => self.circuit(circuit),
            Place::Control | Place::Rest => self.reason("built in", None),
            Place::Class(name) => self.class(name),
            Place::Site(name) | Place::SiteRest(name) => self.site(name),
            Place::SiteClass(site, class) => self.inner(site, class),
        }
    }

    fn share(&self, circuit: &Circuit) -> Reason {
        let pool = self.policy.pool_of(&circuit.name);
        match pool.and_then(|pool| self.phase.splits.get(&pool.name).map(|split| (pool, split))) {
            Some((pool, split)) => self.reason(format!("split.{}", pool.name), Some(&split.origin)),
            None => self.circuit(circuit),
        }
    }

    fn circuit(&self, circuit: &Circuit) -> Reason {
        self.reason(format!("circuit.{}", circuit.name), Some(&circuit.origin))
    }

    fn rest(&self, circuit: &Circuit) -> Option<Reason> {
        let rest = self.policy.rests().get(&circuit.name)?;
        let origin = rest.origin.as_ref()?;
        Some(self.reason("rest", Some(origin)))
    }

    fn class(&self, name: &ClassName) -> Reason {
        let class = self.classes.get(name);
        self.reason("class", class.map(|class| &class.origin))
    }

    fn site(&self, name: &SiteName) -> Reason {
        let site = self.policy.sites().get(name);
        self.reason("site", site.map(|site| &site.origin))
    }

    fn inner(&self, site: &SiteName, class: &ClassName) -> Reason {
        let inner = self.inner_class(site, class);
        self.reason("class", inner.map(|inner| &inner.origin))
    }

    fn inner_class(&self, site: &SiteName, class: &ClassName) -> Option<&SiteClass> {
        let site: &Site = self.policy.sites().get(site)?;
        site.classes.iter().find(|inner| inner.name == *class)
    }

    fn reason(&self, what: impl Into<String>, origin: Option<&Origin>) -> Reason {
        Reason {
            phase: self.phase.name.clone(),
            origin: origin.cloned(),
            what: what.into(),
        }
    }
}

fn part(what: &str, whole: Reason) -> Reason {
    Reason {
        what: what.to_owned(),
        ..whole
    }
}
