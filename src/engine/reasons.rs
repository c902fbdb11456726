//! Why each place has what it has: where the figure that decides it was written.

use std::collections::BTreeMap;

use crate::model::desired::{Reason, Reasons};
use crate::model::names::{ClassName, Origin, PhaseName};
use crate::model::node::{NodeKey, Place};
use crate::model::phase::Phase;
use crate::policy::Policy;

/// The reason for each place in `phase`.
pub fn reasons(policy: &Policy, phase: &PhaseName) -> Reasons {
    let Some(phase) = policy.phases().get(phase) else {
        return Reasons::new();
    };
    let classes: BTreeMap<&ClassName, &Origin> = policy
        .classes()
        .iter()
        .map(|class| (&class.name, &class.origin))
        .collect();
    policy
        .promises(phase)
        .into_keys()
        .map(|key| {
            let (what, origin) = reason(policy, phase, &classes, &key);
            (
                key,
                Reason {
                    phase: phase.name.clone(),
                    origin,
                    what,
                },
            )
        })
        .collect()
}

fn reason(
    policy: &Policy,
    phase: &Phase,
    classes: &BTreeMap<&ClassName, &Origin>,
    key: &NodeKey,
) -> (String, Option<Origin>) {
    let written = |what: &str, origin: Option<&Origin>| (what.to_owned(), origin.cloned());
    match &key.place {
        Place::Circuit => match policy.pool_of(&key.circuit) {
            Some(pool) => (format!("split.{}", pool.name), Some(phase.origin.clone())),
            None => written(
                "capacity",
                policy
                    .circuits()
                    .get(&key.circuit)
                    .map(|circuit| &circuit.origin),
            ),
        },
        Place::Control | Place::SiteRest(_) => written("built in", None),
        Place::Rest => match policy
            .rests()
            .get(&key.circuit)
            .and_then(|rest| rest.origin.as_ref())
        {
            Some(origin) => written("rest", Some(origin)),
            None => written("built in", None),
        },
        Place::Class(class) if phase.classes.contains_key(class) => {
            (format!("class.{class}"), Some(phase.origin.clone()))
        }
        Place::Class(class) => written("class", classes.get(class).copied()),
        Place::Site(site) if phase.sites.contains_key(site) => {
            (format!("site.{site}"), Some(phase.origin.clone()))
        }
        Place::Site(site) => written("site", policy.sites().get(site).map(|site| &site.origin)),
        Place::SiteClass(site, class) => {
            let inner = policy.sites().get(site).and_then(|site| {
                site.classes
                    .iter()
                    .find(|inner| inner.name == *class)
                    .map(|inner| &inner.origin)
            });
            written("class", inner)
        }
    }
}
