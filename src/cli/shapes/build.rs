//! The parts that the schemas of outputs are made of.

use serde_json::{Map, Value, json};

/// A key with what it holds; one that is always there.
pub type Field<'a> = (&'a str, Value);

/// An object with these keys, all of them, and no others.
pub fn object(doc: &str, fields: &[Field<'_>]) -> Value {
    object_with(doc, fields, &[])
}

/// An object with these keys, and where there is something to say those of `more`; and no others.
pub fn object_with(doc: &str, fields: &[Field<'_>], more: &[Field<'_>]) -> Value {
    let all = fields.iter().chain(more);
    let properties: Map<String, Value> = all
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let required: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    json!({
        "description": doc,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    })
}

/// A list.
pub fn list(doc: &str, items: &Value) -> Value {
    json!({ "description": doc, "type": "array", "items": items })
}

/// An object with any keys, each with such a value.
pub fn map(doc: &str, values: &Value) -> Value {
    json!({ "description": doc, "type": "object", "additionalProperties": values })
}

/// A text.
pub fn text(doc: &str) -> Value {
    json!({ "description": doc, "type": "string" })
}

/// A text that is one of these.
pub fn word(doc: &str, words: &[&str]) -> Value {
    json!({ "description": doc, "enum": words })
}

/// A whole number, 0 or more.
pub fn count(doc: &str) -> Value {
    json!({ "description": doc, "type": "integer", "minimum": 0 })
}

/// A number, 0 or more.
pub fn number(doc: &str) -> Value {
    json!({ "description": doc, "type": "number", "minimum": 0 })
}

/// Yes or no.
pub fn flag(doc: &str) -> Value {
    json!({ "description": doc, "type": "boolean" })
}

/// A date and time, in UTC.
pub fn time(doc: &str) -> Value {
    json!({
        "description": doc,
        "type": "string",
        "pattern": "^-?[0-9]{4,6}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z$",
    })
}

/// A rate as policy files write it.
pub fn rate(doc: &str) -> Value {
    json!({
        "description": doc,
        "type": "string",
        "pattern": "^[0-9]+([.][0-9]+)?[kmgt]?bit$",
    })
}

/// The same, or null.
pub fn or_null(value: Value) -> Value {
    let Value::Object(mut object) = value else {
        return json!({ "anyOf": [value, { "type": "null" }] });
    };
    if let Some(Value::Array(words)) = object.get_mut("enum") {
        words.push(Value::Null);
    } else if let Some(of) = object.remove("type") {
        object.insert("type".to_owned(), json!([of, "null"]));
    } else {
        return json!({ "anyOf": [object, { "type": "null" }] });
    }
    Value::Object(object)
}
