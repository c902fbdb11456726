//! Classes that get nothing, because those before them take all that they match. The first that matches wins.

use super::Note;
use super::cover::Area;
use crate::model::class::Match;
use crate::model::names::Origin;
use crate::policy::Policy;

/// So many pairs of matches are looked at: some seconds' worth in the slowest build. Of a policy with more nothing is
/// claimed for those that come last.
const PAIRS: usize = 2_000_000;
/// How many of those that take it all are named.
const NAMED: usize = 3;

/// A class among others of its circuit or site.
struct One<'a> {
    who: String,
    origin: &'a Origin,
    areas: Vec<Area>,
}

impl<'a> One<'a> {
    fn new(who: String, origin: &'a Origin, matches: &[Match]) -> Self {
        Self {
            who,
            origin,
            areas: matches.iter().map(Area::of).collect(),
        }
    }
}

/// A note for each class, or match of one, that gets nothing.
pub(super) fn notes(policy: &Policy) -> Vec<Note> {
    let mut left = PAIRS;
    let mut notes = Vec::new();
    for circuit in policy.circuits().keys() {
        let classes = policy.classes().iter();
        let classes: Vec<One<'_>> = classes
            .filter(|class| class.circuit == *circuit)
            .map(|class| {
                let who = format!("class `{}`", class.name);
                One::new(who, &class.origin, &class.matches)
            })
            .collect();
        notes.extend(among(&classes, &mut left));
    }
    for site in policy.sites().values() {
        let classes: Vec<One<'_>> = site
            .classes
            .iter()
            .map(|class| {
                let who = format!("class `{}` of site `{}`", class.name, site.name);
                One::new(who, &class.origin, &class.matches)
            })
            .collect();
        notes.extend(among(&classes, &mut left));
    }
    notes
}

/// The same of classes that come one after another.
fn among(classes: &[One<'_>], left: &mut usize) -> Vec<Note> {
    let mut notes = Vec::new();
    for (index, class) in classes.iter().enumerate() {
        let earlier = classes.get(..index).unwrap_or_default();
        let takers: Vec<Option<Vec<&One<'_>>>> = class
            .areas
            .iter()
            .map(|area| takers(area, earlier, left))
            .collect();
        if takers.iter().all(Option::is_some) {
            let all: Vec<&One<'_>> = takers.into_iter().flatten().flatten().collect();
            if !all.is_empty() {
                let what = "all that it matches";
                notes.push(told(class, class.who.clone(), what, all));
            }
            continue;
        }
        for (number, takers) in (1..).zip(takers) {
            if let Some(takers) = takers {
                let who = format!("match {number} of {}", class.who);
                notes.push(told(class, who, "all of it", takers));
            }
        }
    }
    notes
}

/// Those that take all of `area` together; `None` where something is left, or that is not known.
fn takers<'c, 'a>(
    area: &Area,
    earlier: &'c [One<'a>],
    left: &mut usize,
) -> Option<Vec<&'c One<'a>>> {
    let mut rest = area.clone();
    let mut takers = Vec::new();
    for one in earlier {
        let mut took = false;
        for theirs in &one.areas {
            *left = left.checked_sub(1)?;
            took |= rest.take_out(theirs)?;
        }
        if took {
            takers.push(one);
        }
        if rest.is_empty() {
            return Some(takers);
        }
    }
    None
}

fn told(class: &One<'_>, who: String, what: &str, mut takers: Vec<&One<'_>>) -> Note {
    takers.sort_by_key(|one| one.origin);
    takers.dedup_by_key(|one| one.origin);
    let (verb, before) = match takers.len() {
        1 => ("takes", "the class before it"),
        _ => ("take", "classes before it"),
    };
    let named: Vec<&str> = takers
        .iter()
        .take(NAMED)
        .map(|one| one.who.as_str())
        .collect();
    let more = match takers.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "{who} gets nothing: {}{more} {verb} {what} first",
        named.join(", ")
    );
    let help = "the first class that matches wins, in the order of the files and then of the text: put it further up, or remove it";
    takers
        .iter()
        .take(NAMED)
        .fold(Note::at(class.origin, message, help), |note, one| {
            note.see(one.origin, before)
        })
}
