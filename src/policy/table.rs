//! Tables and values on their way from a file's text, each with its place and what it should be.

use super::document::{Raw, Value};
use super::fault::At;
use super::spec::Shape;

/// A value in a file, with its place and what it should look like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'t> {
    /// The key that it stands under.
    pub(super) name: &'t str,
    /// Where the key is.
    pub(super) key_at: At,
    /// Where the value is.
    pub(super) at: At,
    /// The value.
    pub(super) value: &'t Value<'t>,
    /// What it should look like.
    pub(super) shape: Shape,
}

impl<'t> Item<'t> {
    /// What stands under `name` in it, where it is a table.
    pub(super) fn child(&self, name: &str) -> Option<Self> {
        let Value::Table(table) = self.value else {
            return None;
        };
        let inner = if let Shape::Map(_, inner) = self.shape {
            inner
        } else if let Shape::Table(spec) = self.shape {
            &spec.key(name)?.shape
        } else {
            return None;
        };
        let (key, value) = table.get_key_value(name)?;
        Some(Self {
            name: key.get_ref(),
            key_at: At::new(self.at.file, &key.span()),
            at: At::new(self.at.file, &value.span()),
            value: value.get_ref(),
            shape: *inner,
        })
    }
}

/// Something that was read, with the table that it was read from.
#[derive(Debug)]
pub(super) struct Written<'t, T> {
    /// What was read.
    pub(super) value: T,
    /// From where.
    pub(super) table: Table<'t>,
    /// Whether all of it could be read.
    pub(super) state: State,
}

/// Whether all of a table could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It says what its writer meant.
    Sound,
    /// Something was left out or replaced by a default.
    Faulty,
}

/// A table whose keys are known to be good, though not yet their values.
#[derive(Debug, Clone)]
pub(super) struct Table<'t> {
    /// What it is, for messages: "class `gateway`".
    pub(super) who: String,
    /// Where its name stands.
    pub(super) at: At,
    items: Vec<Item<'t>>,
}

impl<'t> Table<'t> {
    /// A table of these keys.
    pub(super) const fn of(who: String, at: At, items: Vec<Item<'t>>) -> Self {
        Self { who, at, items }
    }

    /// The value of a key.
    pub(super) fn get(&self, name: &str) -> Option<Item<'t>> {
        self.items.iter().find(|item| item.name == name).copied()
    }

    /// Where the value of `name` stands, or the table's own name where it is not given.
    pub(super) fn place(&self, name: &str) -> At {
        self.get(name).map_or(self.at, |item| item.at)
    }
}

/// The texts of a list, with their places.
pub(super) fn texts(item: Item<'_>) -> Vec<(&str, At)> {
    let Value::Array(list) = item.value else {
        return Vec::new();
    };
    list.iter()
        .filter_map(|value| {
            let Value::String(text) = value.get_ref() else {
                return None;
            };
            Some((text.as_ref(), At::new(item.at.file, &value.span())))
        })
        .collect()
}

/// What a table holds, in the order of the text.
pub(super) fn items<'t>(
    table: &'t Raw<'t>,
    file: usize,
    shape: impl Fn(&str) -> Shape,
) -> Vec<Item<'t>> {
    let mut items: Vec<Item<'t>> = table
        .iter()
        .map(|(key, value)| Item {
            name: key.get_ref(),
            key_at: At::new(file, &key.span()),
            at: At::new(file, &value.span()),
            value: value.get_ref(),
            shape: shape(key.get_ref()),
        })
        .collect();
    items.sort_by_key(|item| item.key_at);
    items
}

/// `text`, short enough for a message.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(48).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
