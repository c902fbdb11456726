//! What one class or site is promised makes sense by itself: its guarantee is not above its
//! ceiling, nor a site's above its tail, and no percentage comes to nothing.

use std::collections::BTreeSet;

use super::super::Policy;
use super::super::cx::{Cx, Item, State, Table, Written};
use super::super::draft::Draft;
use super::super::fault::At;
use super::{above, figures};
use crate::model::phase::Phase;
use crate::units::{Amount, Amounts, PerDirection, Rate, Rates, bits_text};

/// A class or site as a phase sees it.
struct Promise<'p> {
    who: &'p str,
    guarantee: Amounts,
    guarantee_at: At,
    /// What the guarantee may not exceed, what that is, and where it stands.
    most: PerDirection<u64>,
    most_is: &'static str,
    most_at: At,
    parent: Rates,
}

pub(super) fn judge(cx: &mut Cx<'_>, draft: &Draft<'_>, policy: &Policy) {
    let mut told: BTreeSet<At> = BTreeSet::new();
    for phase in draft
        .phases
        .iter()
        .filter(|phase| phase.state == State::Sound)
    {
        for circuit in policy.circuits().values() {
            if let Some(share) = policy.share(&phase.value, circuit) {
                classes(cx, draft, phase, share, &circuit.name, &mut told);
                sites(cx, draft, phase, share, &circuit.name, &mut told);
            }
        }
    }
}

/// Where a phase replaces `key` of the thing `name`; else where its own table says it.
fn place(phase: &Written<'_, Phase>, kind: &str, name: &str, key: &str, table: &Table<'_>) -> At {
    let over = phase
        .table
        .get(kind)
        .and_then(|item| item.child(name)?.child(key));
    over.map_or_else(|| table.place(key), |item| item.at)
}

fn within(amounts: Amounts, parent: Rates) -> PerDirection<u64> {
    amounts.zip(parent, Amount::bits_within)
}

fn classes(
    cx: &mut Cx<'_>,
    draft: &Draft<'_>,
    phase: &Written<'_, Phase>,
    share: Rates,
    circuit: &crate::model::names::CircuitName,
    told: &mut BTreeSet<At>,
) {
    let rests = draft
        .rests
        .iter()
        .filter(|rest| rest.value.circuit == *circuit && rest.state == State::Sound)
        .map(|rest| (&rest.table, "rest", "", rest.value.terms));
    let classes = draft
        .classes
        .iter()
        .filter(|class| class.value.circuit == *circuit && class.state == State::Sound)
        .map(|class| {
            let over = phase.value.classes.get(&class.value.name);
            let terms = over.map_or(class.value.terms, |over| over.over(class.value.terms));
            (&class.table, "class", class.value.name.as_str(), terms)
        });
    for (table, kind, name, terms) in rests.chain(classes) {
        let promise = Promise {
            who: &table.who,
            guarantee: terms.guarantee,
            guarantee_at: place(phase, kind, name, "guarantee", table),
            most: within(terms.ceiling, share),
            most_is: "ceiling",
            most_at: place(phase, kind, name, "ceiling", table),
            parent: share,
        };
        one(cx, &promise, told);
        nothing(cx, terms.ceiling, share, promise.most_at, &table.who, told);
    }
}

fn sites(
    cx: &mut Cx<'_>,
    draft: &Draft<'_>,
    phase: &Written<'_, Phase>,
    share: Rates,
    circuit: &crate::model::names::CircuitName,
    told: &mut BTreeSet<At>,
) {
    for (site, _) in &draft.sites {
        if site.value.circuit != *circuit || site.state == State::Faulty {
            continue;
        }
        let own = site.value.terms;
        let over = phase.value.sites.get(&site.value.name);
        let terms = over.map_or(own, |over| over.over(own));
        let name = site.value.name.as_str();
        let promise = Promise {
            who: &site.table.who,
            guarantee: terms.guarantee,
            guarantee_at: place(phase, "site", name, "guarantee", &site.table),
            most: terms.capacity.map(Rate::bits),
            most_is: "capacity",
            most_at: place(phase, "site", name, "capacity", &site.table),
            parent: share,
        };
        one(cx, &promise, told);
        let tail = terms.guarantee.zip(share, Amount::within);
        let ceiling = terms.capacity.zip(share, Rate::min);
        for inner in &site.value.classes {
            let table: Option<Item<'_>> = site
                .table
                .get("class")
                .and_then(|item| item.child(inner.name.as_str()));
            let at = |key: &str| {
                let item = table.and_then(|item| item.child(key));
                item.or(table).map_or(site.table.at, |item| item.at)
            };
            let who = format!("class `{}` of {}", inner.name, site.table.who);
            let promise = Promise {
                who: &who,
                guarantee: inner.terms.guarantee,
                guarantee_at: at("guarantee"),
                most: within(inner.terms.ceiling, ceiling),
                most_is: "ceiling",
                most_at: at("ceiling"),
                parent: tail,
            };
            one(cx, &promise, told);
        }
    }
}

fn one(cx: &mut Cx<'_>, promise: &Promise<'_>, told: &mut BTreeSet<At>) {
    let guarantee = within(promise.guarantee, promise.parent);
    if let Some((direction, words)) = above(guarantee, promise.most)
        && told.insert(promise.guarantee_at)
    {
        let message = format!(
            "{} has a guarantee above its {}, {words}",
            promise.who, promise.most_is
        );
        let most = bits_text(promise.most.get(direction));
        let fault = cx.fault(promise.guarantee_at, message);
        fault.help(format!(
            "lower the guarantee to {most} at the most, or raise the {}",
            promise.most_is
        ));
        if promise.most_at != promise.guarantee_at {
            fault
                .label(figures(guarantee))
                .see(promise.most_at, figures(promise.most));
        }
    }
    nothing(
        cx,
        promise.guarantee,
        promise.parent,
        promise.guarantee_at,
        promise.who,
        told,
    );
}

/// A percentage that comes to less than a byte a second.
fn nothing(
    cx: &mut Cx<'_>,
    amounts: Amounts,
    parent: Rates,
    at: At,
    who: &str,
    told: &mut BTreeSet<At>,
) {
    let zero = amounts.zip(parent, |amount, parent| amount.bits_within(parent) == 0);
    if (zero.up || zero.down) && told.insert(at) {
        let of = if zero.up { parent.up } else { parent.down };
        cx.fault(
            at,
            format!(
                "this percentage of {} comes to nothing for {who}",
                bits_text(of.bits())
            ),
        )
        .help("write a larger one, or a rate such as \"8kbit\"");
    }
}
