//! Marks, read: what some bits of one are compared with, or set to.

use super::super::text::Cursor;
use crate::model::circuit::MarkMask;
use crate::model::filter::{FieldKind, Range, Values, number};

/// The bits that a comparison looks at, and what they may say.
///
/// nft says the same in several ways: `& 0xffff0000 == 0x00150000` and `0x00150000/16`.
pub(super) fn compared(cursor: &mut Cursor<'_>) -> Option<(MarkMask, Values)> {
    let mut bits = if cursor.take("&") {
        Some(mark(cursor.next()?)?)
    } else {
        None
    };
    let negated = cursor.take("!=");
    if !negated {
        cursor.take("==");
    }
    let mut texts: Vec<&str> = Vec::new();
    if cursor.peek() == Some("{") {
        for element in cursor.block()?.split(|token| *token == ",") {
            match element {
                [value] => texts.push(value),
                _ => return None,
            }
        }
    } else {
        texts.push(cursor.next()?);
    }
    if let ([prefix], None) = (texts.as_slice(), bits)
        && let Some((value, length)) = prefix.split_once('/')
    {
        let length: u32 = length.parse().ok()?;
        bits = Some(u32::MAX.checked_shl(u32::BITS.checked_sub(length)?)?);
        texts = vec![value];
    }
    let mask = MarkMask::new(bits.unwrap_or(u32::MAX))?;
    let kind = FieldKind::Mark(mask);
    let values: Option<Values> = texts
        .iter()
        .map(|text| kind.read(text))
        .collect::<Option<Vec<Range>>>()
        .map(Values::new);
    let values = values?;
    match (negated, values.ranges()) {
        (false, _) => Some((mask, values)),
        (true, [one]) if one.first() == one.last() => {
            Some((mask, Values::all_but(kind, one.first())))
        }
        (true, _) => None,
    }
}

/// The bits that are set, and to what number.
///
/// What is added to the bits that stay may stand among them too: nft prints
/// `& 0x0015ffff | 0x00150000` for what was written as `& 0x0000ffff | 0x00150000`.
pub(super) fn set(cursor: &mut Cursor<'_>) -> Option<(MarkMask, u32)> {
    let (kept, added) = if cursor.take_all(&["meta", "mark"]) {
        let kept = match cursor.take("&") {
            true => mark(cursor.next()?)?,
            false => u32::MAX,
        };
        let added = match cursor.take("|") {
            true => mark(cursor.next()?)?,
            false => 0,
        };
        (kept, added)
    } else {
        (0, mark(cursor.next()?)?)
    };
    let mask = MarkMask::new(!(kept & !added))?;
    Some((mask, mask.number(added)))
}

fn mark(text: &str) -> Option<u32> {
    u32::try_from(number(text)?).ok()
}
