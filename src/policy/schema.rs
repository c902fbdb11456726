//! The language as JSON Schema, for editors: made from the same words that the reader follows.

use serde_json::{Map, Value, json};

use super::host::HOST;
use super::root::POLICY;
use super::services::dscp_names;
use super::spec::{Given, Key, Need, Shape, Spec};

/// Which files a schema is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// Any: what a file may say that can be the host's.
    Any,
    /// The host's, which has a name, and may say all that others say.
    Host,
    /// All others: what only the host's may say is wrong there.
    Policy,
}

/// A schema (draft 2020-12) of such a file.
///
/// It says which keys there are and what their values look like; that names refer and sums fit,
/// only reading can tell.
#[must_use]
pub fn schema(files: Files) -> Value {
    let host = matches!(files, Files::Any | Files::Host);
    let specs = host.then_some(&HOST).into_iter().chain([&POLICY]);
    let mut properties = Map::new();
    for key in specs.flat_map(|spec| spec.keys) {
        property(&mut properties, key);
    }
    let (title, description) = match files {
        Files::Any => (
            "wanshift",
            "A file of a wanshift policy; what only the host's file may say is in it too",
        ),
        Files::Host => (
            "wanshift host.toml",
            "The facts of a host; it may say as well what the files of a policy say",
        ),
        Files::Policy => (
            "wanshift policy.d/*.toml",
            "A file of a wanshift policy beside the host's",
        ),
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "required": if files == Files::Host { required(&HOST) } else { Vec::new() },
    })
}

fn property(properties: &mut Map<String, Value>, key: &Key) {
    if matches!(key.shape, Shape::Later) {
        return;
    }
    let mut value = of(key.shape);
    if let Value::Object(value) = &mut value {
        value.insert("description".to_owned(), json!(key.doc));
    }
    properties.insert(key.name.to_owned(), value);
}

fn required(spec: &Spec) -> Vec<&'static str> {
    let keys = spec.keys.iter();
    keys.filter(|key| key.need == Need::Required)
        .map(|key| key.name)
        .collect()
}

fn table(spec: &Spec) -> Value {
    let mut properties = Map::new();
    for key in spec.keys {
        property(&mut properties, key);
    }
    let mut value = Map::new();
    let (least, most) = match spec.given {
        Given::Any => (None, None),
        Given::Some => (Some(1), None),
        Given::One => (Some(1), Some(1)),
    };
    for (word, count) in [("minProperties", least), ("maxProperties", most)] {
        if let Some(count) = count {
            value.insert(word.to_owned(), json!(count));
        }
    }
    for (word, what) in [
        ("description", json!(spec.doc)),
        ("type", json!("object")),
        ("additionalProperties", json!(false)),
        ("properties", Value::Object(properties)),
        ("required", json!(required(spec))),
    ] {
        value.insert(word.to_owned(), what);
    }
    Value::Object(value)
}

fn directions(one: &Value) -> Value {
    json!({ "anyOf": [one, {
        "type": "object",
        "additionalProperties": false,
        "properties": { "up": one, "down": one },
        "required": ["up", "down"],
    }]})
}

/// As names are written, and at most 32 characters long.
const NAME: &str = "[a-z][a-z0-9-]{0,31}";
/// A prefix or an address; whether it is one, only reading can tell.
const PREFIX: &str = r"[0-9.]+(/[0-9]{1,2})?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(/[0-9]{1,3})?";
const PORTS: &str = "(tcp|udp)/[0-9]{1,5}(-[0-9]{1,5})?";
const RATE: &str = r"[0-9]+(\.[0-9]+)?\s*([kmgtKMGT][iI]?)?[bB][iI][tT]";
const PERCENT: &str = r"[0-9]+(\.[0-9]+)?\s*%";
/// The longer unit first.
const DURATION: &str = r"([0-9]+d\s*)?([0-9]+h\s*)?([0-9]+m\s*)?([0-9]+s\s*)?([0-9]+ms)?";
/// A day, and what may follow it. A date that is no text in TOML is one in JSON.
const DATE: &str = r"[-+]?[0-9]{4,6}-?[0-9]{2}-?[0-9]{2}([ tTzZ\[+-].*)?";
const DEVICE: &str = "[A-Za-z0-9][A-Za-z0-9._@:-]{0,14}";
const SCHEDULE: &str = concat!(
    r"[ ,\t]*(((mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun))?[ ,\t]+)*",
    r"([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)([ ,\t]+|$))+"
);

/// A text that is one of `patterns` as a whole.
fn text(patterns: &[&str]) -> Value {
    json!({ "type": "string", "pattern": format!("^({})$", patterns.join("|")) })
}

/// The same where spaces around it do not matter.
fn trimmed(pattern: &str) -> Value {
    text(&[&format!(r"\s*({pattern})\s*")])
}

/// A code point by name, in large letters or small, or by number.
fn dscp() -> Value {
    let either = |letter: char| {
        let (small, large) = (letter.to_ascii_lowercase(), letter.to_ascii_uppercase());
        if small == large {
            letter.to_string()
        } else {
            format!("[{small}{large}]")
        }
    };
    let names: Vec<String> = dscp_names()
        .map(|name| name.chars().map(either).collect())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    json!({ "anyOf": [text(&names), { "type": "integer", "minimum": 0, "maximum": 63 }] })
}

fn of(shape: Shape) -> Value {
    match shape {
        Shape::Rate => trimmed(RATE),
        Shape::Schedule => text(&[SCHEDULE]),
        Shape::Rates => directions(&trimmed(RATE)),
        Shape::Amounts => directions(&trimmed(&format!("{RATE}|{PERCENT}"))),
        Shape::Duration => {
            let mut value = trimmed(DURATION);
            if let Value::Object(value) = &mut value {
                // A number and a unit: the pattern alone lets nothing pass as well.
                value.insert("minLength".to_owned(), json!(2));
            }
            value
        }
        Shape::Date => text(&[DATE]),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Integer(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Shape::Mask => json!({ "anyOf": [
            text(&["0x[0-9A-Fa-f_]+", "[0-9_]+"]),
            { "type": "integer", "minimum": 3, "maximum": u32::MAX },
        ]}),
        Shape::Dscp => dscp(),
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::List(inner) => json!({ "type": "array", "minItems": 1, "items": of(*inner) }),
        Shape::Table(spec) => table(spec),
        Shape::Map(_, inner) => json!({
            "type": "object",
            "propertyNames": text(&[NAME]),
            "additionalProperties": of(*inner),
        }),
        Shape::Prefix => text(&[&format!("@{NAME}"), PREFIX]),
        Shape::PrefixOr(spec) => json!({ "anyOf": [of(Shape::Prefix), table(spec)] }),
        Shape::Service => text(&[NAME, PORTS]),
        Shape::Ports => text(&[PORTS]),
        Shape::Name(_) | Shape::Word(_) => text(&[NAME]),
        Shape::Device => text(&[DEVICE]),
        Shape::Path(_) => text(&["/.*"]),
        Shape::Text(_) | Shape::Later => json!({ "type": "string" }),
    }
}
