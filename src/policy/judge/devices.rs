//! A device is one thing: one circuit's, or inside, or a pool's.

use std::collections::BTreeMap;

use super::super::cx::Cx;
use super::super::draft::Draft;
use super::super::fault::At;
use super::super::table::texts;
use crate::model::state::Ifb;

pub(super) fn judge(cx: &mut Cx<'_>, draft: &Draft<'_>) {
    let mut places: Vec<(&str, At, String)> = Vec::new();
    for circuit in &draft.circuits {
        let name = &circuit.value.name;
        places.push((
            circuit.value.device.as_str(),
            circuit.table.place("device"),
            format!("circuit `{name}`"),
        ));
        if let Some(also) = circuit.table.get("also") {
            places.extend(
                texts(also)
                    .into_iter()
                    .map(|(device, at)| (device, at, format!("circuit `{name}`"))),
            );
        }
    }
    for pool in &draft.pools {
        if let Some(device) = &pool.value.device {
            let at = pool.table.place("device");
            places.push((device.as_str(), at, format!("pool `{}`", pool.value.name)));
        }
    }
    places.extend(
        draft
            .inside
            .iter()
            .map(|(device, at)| (*device, *at, "the inside".to_owned())),
    );
    for (device, at, _) in &places {
        if *device == Ifb::NAME {
            cx.fault(*at, format!("device `{device}` is wanshift's own"))
                .help("on it what arrives is shaped; name the device behind which the circuit lies, or that leads inside");
        }
    }
    // The later in the text is the one that is wrong.
    places.sort_by_key(|(_, at, _)| *at);
    let mut first: BTreeMap<&str, (At, String)> = BTreeMap::new();
    for (device, at, owner) in places {
        if let Some((before, holder)) = first.get(device) {
            let message = format!("device `{device}` belongs to {holder} already");
            cx.fault(at, message)
                .label(format!("and to {owner} here"))
                .help("give each circuit a device of its own, apart from those inside")
                .see(*before, format!("to {holder} here"));
        } else {
            first.insert(device, (at, owner));
        }
    }
}
