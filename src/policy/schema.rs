//! The language as JSON Schema, for editors: made from the same words that the reader follows.

use serde_json::{Map, Value, json};

use super::host::HOST;
use super::root::POLICY;
use super::spec::{Key, Need, Shape, Spec};

/// A schema (draft 2020-12) of one file: the host's, or one of a policy.
///
/// It says which keys there are and what their values look like; that names refer and sums fit,
/// only reading can tell.
#[must_use]
pub fn schema() -> Value {
    let mut properties = Map::new();
    for key in HOST.keys.iter().chain(POLICY.keys) {
        property(&mut properties, key);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wanshift",
        "description": "A file of a wanshift policy; what only the host's file may say is in it too",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
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

fn table(spec: &Spec) -> Value {
    let mut properties = Map::new();
    for key in spec.keys {
        property(&mut properties, key);
    }
    let required: Vec<&str> = spec
        .keys
        .iter()
        .filter(|key| key.need == Need::Required)
        .map(|key| key.name)
        .collect();
    json!({
        "description": spec.doc,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    })
}

fn directions(one: &Value) -> Value {
    json!({ "oneOf": [one, {
        "type": "object",
        "additionalProperties": false,
        "properties": { "up": one, "down": one },
        "required": ["up", "down"],
    }]})
}

fn of(shape: Shape) -> Value {
    const RATE: &str = r"^[0-9]+(\.[0-9]+)? *([kmgtKMGT][iI]?)?[bB][iI][tT]$";
    const SCHEDULE: &str = concat!(
        r"^[ ,\t]*(((mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun))?[ ,\t]+)*",
        r"([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)([ ,\t]+|$))+$"
    );
    let text = json!({ "type": "string" });
    let rate = json!({ "type": "string", "pattern": RATE });
    match shape {
        Shape::Rate => rate,
        Shape::Schedule => json!({ "type": "string", "pattern": SCHEDULE }),
        Shape::Rates => directions(&rate),
        Shape::Amounts => {
            let percent = json!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$" });
            directions(&json!({ "anyOf": [rate, percent] }))
        }
        Shape::Duration => {
            json!({ "type": "string", "pattern": "^([0-9]+(d|h|ms|m|s) *)+$" })
        }
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Integer(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Shape::Mask | Shape::Dscp => json!({ "type": ["string", "integer"] }),
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::List(inner) => json!({ "type": "array", "minItems": 1, "items": of(*inner) }),
        Shape::Table(spec) => table(spec),
        Shape::Map(_, inner) => json!({ "type": "object", "additionalProperties": of(*inner) }),
        Shape::PrefixOr(spec) => json!({ "oneOf": [text, table(spec)] }),
        Shape::Date
        | Shape::Name(_)
        | Shape::Device
        | Shape::Text(_)
        | Shape::Prefix
        | Shape::Service
        | Shape::Ports
        | Shape::Later => text,
    }
}
