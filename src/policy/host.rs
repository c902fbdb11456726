//! The facts of a host, and the daemon's settings: what only the host's file may say.

use std::path::PathBuf;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::cx::{Cx, Item, shorten};
use super::document::Value;
use super::fault::At;
use super::root::Root;
use super::spec::{Given, Kind, Shape, Spec, may, must, nearest};
use super::table::texts;
use super::{circuit, value};
use crate::model::circuit::{Host, MarkMask};
use crate::model::daemon::{Daemon, OnExit};
use crate::model::names::DeviceName;

/// What only the host's file may say: the facts of this host, which is not for policies to know.
pub(super) static HOST: Spec = Spec {
    doc: "The facts of a host",
    given: Given::Any,
    keys: &[
        must("name", Shape::Word("hq-melun"), "the host's name"),
        may(
            "timezone",
            Shape::Text("Europe/Paris"),
            "the zone in which dates are meant",
        ),
        may(
            "inside",
            Shape::List(&Shape::Device),
            "the devices toward the inside",
        ),
        may(
            "mark_mask",
            Shape::Mask,
            "the bits of packet marks that are ours",
        ),
        may("daemon", Shape::Table(&DAEMON), "the daemon's own settings"),
        may(
            "circuit",
            Shape::Map(Kind::Circuit, &Shape::Table(&circuit::CIRCUIT)),
            "the circuits",
        ),
        may(
            "pool",
            Shape::Map(Kind::Pool, &Shape::Table(&circuit::POOL)),
            "what circuits share",
        ),
    ],
};

/// `[daemon]`
static DAEMON: Spec = Spec {
    doc: "The daemon's own settings: each has a default and a flag",
    given: Given::Any,
    keys: &[
        may(
            "state",
            Shape::Path("/var/lib/wanshift"),
            "where it keeps what outlives a restart",
        ),
        may(
            "socket",
            Shape::Path("/run/wanshift/wanshift.sock"),
            "where it listens for commands",
        ),
        may(
            "http",
            Shape::Text("127.0.0.1:9817"),
            "where it serves metrics",
        ),
        may("sample", Shape::Duration, "how often it reads counters"),
        may(
            "on_exit",
            Shape::Choice(&["leave", "teardown"]),
            "what it does with the kernel when it ends",
        ),
    ],
};

/// Reads what the host says of itself.
pub(super) fn host<'t>(cx: &mut Cx<'t>, root: &Root<'t>) -> Option<Host> {
    let table = &root.host;
    cx.zone = table.get("timezone").and_then(|item| zone(cx, item));
    let name = table.get("name").and_then(|item| cx.parse(item));
    let inside = table
        .get("inside")
        .map_or_else(Vec::new, |item| cx.each(item, Cx::parse::<DeviceName>));
    let mark_mask = table.get("mark_mask").and_then(|item| mask(cx, item));
    let at = table.place("name");
    Some(Host {
        name: name?,
        timezone: cx.zone.clone().unwrap_or(TimeZone::UTC),
        inside: inside.into_iter().map(|(device, _)| device).collect(),
        mark_mask: mark_mask.unwrap_or(MarkMask::UPPER_16),
        origin: cx.origin(at),
    })
}

/// The devices toward the inside, with their places.
pub(super) fn inside<'t>(root: &Root<'t>) -> Vec<(&'t str, At)> {
    let Some(item) = root.host.get("inside") else {
        return Vec::new();
    };
    texts(item)
}

/// The zones are those that the program was built with: reading touches no file, and the same
/// policy means the same everywhere.
fn zone<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<TimeZone> {
    let text = cx.text(item)?;
    let zones = TimeZoneDatabase::bundled();
    if let Ok(zone) = zones.get(text) {
        return Some(zone);
    }
    let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
    let help = match nearest_zone(text, &names) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => "write a name of the IANA database, such as \"Europe/Paris\"".to_owned(),
    };
    let message = format!("there is no time zone `{}`", shorten(text));
    cx.fault(item.at, message).help(help);
    // Local dates are then read in some zone, lest each be a fault of its own.
    Some(TimeZone::UTC)
}

/// The zone that is meant: by its city alone, or by nearness.
fn nearest_zone<'n>(text: &str, names: &'n [String]) -> Option<&'n str> {
    let city = |name: &&String| {
        name.rsplit('/')
            .next()
            .is_some_and(|city| city.eq_ignore_ascii_case(text))
    };
    names
        .iter()
        .find(city)
        .map(String::as_str)
        .or_else(|| nearest(text, names.iter().map(String::as_str)))
}

fn mask<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<MarkMask> {
    let bits = match item.value {
        Value::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
        Value::String(text) => {
            let text = text.replace('_', "");
            match text.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            }
        }
        Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => {
            cx.wrong_type(item);
            return None;
        }
    };
    let mask = bits.and_then(MarkMask::new);
    if mask.is_none() {
        cx.fault(item.at, "this is no mask of packet marks")
            .help("write two or more bits side by side, at most 32: \"0xffff0000\" is the default");
    }
    mask
}

/// Reads the daemon's settings.
pub(super) fn daemon<'t>(cx: &mut Cx<'t>, root: &Root<'t>) -> Daemon {
    let table = root
        .daemon
        .and_then(|item| cx.table(item, &DAEMON, "[daemon]".to_owned()));
    let Some(table) = table else {
        return Daemon::default();
    };
    let mut path = |key| {
        let item = table.get(key)?;
        let text = cx.text(item)?;
        if !text.starts_with('/') || text.contains('\0') {
            cx.fault(item.at, format!("`{key}` is a path from the root"))
                .help(format!("write for example {}", item.shape.example()));
            return None;
        }
        Some(PathBuf::from(text))
    };
    let (state, socket) = (path("state"), path("socket"));
    let http = table.get("http").and_then(|item| {
        let text = cx.text(item)?;
        let address = text.parse().ok();
        if address.is_none() {
            cx.fault(
                item.at,
                format!("`{}` is no address with a port", shorten(text)),
            )
            .help("write \"127.0.0.1:9817\" or \"[::1]:9817\"");
        }
        address
    });
    let sample = table
        .get("sample")
        .and_then(|item| value::positive(cx, item));
    let on_exit = table.get("on_exit").and_then(|item| cx.choice(item));
    Daemon {
        state,
        socket,
        http,
        sample,
        on_exit: match on_exit {
            Some("teardown") => OnExit::Teardown,
            _ => OnExit::Leave,
        },
    }
}
