//! An explanation, for people.

use std::fmt::Write;
use std::path::Path;

use super::blocked::{Excepted, NotHeld, Rejected, Told};
use super::met::{Because, Met};
use super::{Case, End, Explanation, Passage};
use crate::model::desired::Hold;
use crate::model::names::Origin;
use crate::units::{Direction, lines};

/// The least width of the column of places.
const PLACE: usize = 24;

/// `explanation` in lines of at most 80 columns, as far as names allow it.
#[must_use]
pub fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    head(&mut text, explanation);
    let several = explanation.answers.len() > 1;
    for answer in &explanation.answers {
        if several {
            wrapped(
                &mut text,
                "\n",
                "  ",
                &format!("{}:", answer.services.join(", ")),
            );
        }
        for (index, case) in answer.cases.iter().enumerate() {
            if answer.cases.len() > 1 {
                let _ = writeln!(
                    text,
                    "\nWay {} of {}: {}",
                    index + 1,
                    answer.cases.len(),
                    way(case)
                );
            }
            one(&mut text, case);
        }
    }
    text
}

fn head(text: &mut String, explanation: &Explanation) {
    let Explanation {
        from, to, service, ..
    } = explanation;
    let dscp = match &explanation.dscp {
        Some(point) => format!(", marked {point}"),
        None => String::new(),
    };
    let _ = writeln!(text, "{} → {}, {service}{dscp}", from.address, to.address);
    for end in [from, to] {
        let End {
            address,
            stands_for: Some(what),
            at,
        } = end
        else {
            continue;
        };
        let of = Because {
            what: format!("{address} stands for {what}"),
            at: at.clone(),
        };
        wrapped(text, "  ", "    ", &said(&of));
    }
    if let Some(at) = &explanation.service_at {
        let _ = writeln!(text, "  service {service} is written in {}", place(at));
    }
    let how = &explanation.phase_known;
    let _ = writeln!(text, "  phase {}: {how}", explanation.phase);
}

fn way(case: &Case) -> String {
    let circuits: Vec<&str> = case.circuits.iter().map(|name| name.as_str()).collect();
    let over = match circuits.as_slice() {
        [] => String::new(),
        [one] => format!(", circuit {one}"),
        several => format!(", circuits {}", several.join(", ")),
    };
    match (&case.requests, &case.replies) {
        (Some(passage), _) => format!("requests go {}{over}", ends(passage)),
        (None, Some(passage)) => format!("replies go {}{over}", ends(passage)),
        (None, None) => "both ends are this host".to_owned(),
    }
}

fn ends(passage: &Passage) -> String {
    let unnamed = if passage.own { "this host" } else { "inside" };
    let arrival = passage
        .arrival
        .as_ref()
        .map_or(unnamed, |device| device.as_str());
    let departure = passage
        .departure
        .as_ref()
        .map_or("inside", |device| device.as_str());
    format!("{arrival} → {departure}")
}

fn one(text: &mut String, case: &Case) {
    if case.either_way {
        text.push_str("The same where it is opened from the other side.\n");
    }
    text.push('\n');
    match &case.rejected {
        Some(block) => rejected(text, block),
        None => text.push_str("No block rejects it.\n"),
    }
    for block in &case.excepted {
        excepted(text, block);
    }
    for block in &case.not_held {
        not_held(text, block);
    }
    if case.circuits.is_empty() {
        text.push_str("It crosses no circuit of the policy: nothing shapes it here.\n");
    }
    let passages = [("Requests", &case.requests), ("Replies", &case.replies)];
    for (what, passage) in passages {
        match passage {
            Some(passage) => went(text, what, passage),
            None => {
                let _ = writeln!(text, "\n{what} end at this host, and are not shaped.");
            }
        }
    }
}

fn rejected(text: &mut String, block: &Rejected) {
    let how = match block.answer {
        Told::Reset => "a TCP reset",
        Told::Prohibited => "an ICMP error (administratively prohibited)",
    };
    let because = block.because.iter().map(said).collect::<Vec<_>>();
    let (name, held) = because
        .split_first()
        .map_or(("a block", &[][..]), |(name, held)| (name, held));
    wrapped(text, "REJECTED by ", "  ", &format!("{name}: {how}."));
    for held in held {
        wrapped(text, "  held by ", "    ", held);
    }
    if block.open == Hold::Draining {
        text.push_str("  Connections that were open when it began may finish.\n");
    }
    let until = match &block.until {
        Some(until) => format!("until condition {until}, or until another phase"),
        None => "until another phase".to_owned(),
    };
    let _ = writeln!(text, "  {until}");
    if let Some(waits) = &block.waits_for {
        wrapped(text, "  ", "    ", &said(waits));
    }
    text.push_str("Were it let through:\n");
}

fn excepted(text: &mut String, block: &Excepted) {
    reasons(text, "It is let through by ", &block.because);
}

fn not_held(text: &mut String, block: &NotHeld) {
    text.push_str("A block would reject it, and does not hold now:\n");
    reasons(text, "  ", &block.because);
}

/// The first after `first`, the others below it.
fn reasons(text: &mut String, first: &str, because: &[Because]) {
    let leads = std::iter::once(first).chain(std::iter::repeat("  "));
    for (lead, reason) in leads.zip(because) {
        wrapped(text, lead, "    ", &said(reason));
    }
}

fn said(reason: &Because) -> String {
    match &reason.at {
        Some(at) => format!("{} ({})", reason.what, place(at)),
        None => reason.what.clone(),
    }
}

fn went(text: &mut String, what: &str, passage: &Passage) {
    let _ = writeln!(text, "\n{what}: {}", ends(passage));
    if passage.classes.is_empty() {
        text.push_str("  in no class: neither leaves them by a circuit, nor came they by one\n");
    }
    for met in &passage.classes {
        class(text, met);
    }
}

fn class(text: &mut String, met: &Met) {
    let over = match met.tree {
        Direction::Up => "up, leaving over",
        Direction::Down => "down, having come over",
    };
    let _ = writeln!(text, "  {over} {}: {}", met.circuit, met.place);
    for reason in &met.because {
        wrapped(text, "    ", "      ", &said(reason));
    }
    if let Some(beyond) = &met.beyond {
        let _ = writeln!(text, "    what is more than that goes to {beyond}");
    }
    wrapped(text, "    rule: ", "      ", &met.rule);
    let places = met.levels.iter().map(|level| level.place.to_string());
    let places: Vec<String> = places.collect();
    let width = places.iter().map(String::len).max().unwrap_or(0).max(PLACE);
    let tree = format!("tree of {}", met.device);
    let _ = writeln!(
        text,
        "    {tree:<width$} {:<9} {:>9}  {:>9}  written",
        "class", "guarantee", "ceiling"
    );
    for (name, level) in places.iter().zip(&met.levels) {
        let class = level.class.as_deref().unwrap_or("?");
        let written = level
            .because
            .at
            .as_ref()
            .map_or("built in".to_owned(), place);
        let (guarantee, ceiling) = (level.guarantee.to_string(), level.ceiling.to_string());
        let _ = writeln!(
            text,
            "    {name:<width$} {class:<9} {guarantee:>9}  {ceiling:>9}  {written}"
        );
    }
}

/// Where something was written, without the directory.
fn place(at: &Origin) -> String {
    let path = Path::new(at.file.as_ref());
    let file = path.file_name().map_or_else(
        || at.file.to_string(),
        |name| name.to_string_lossy().into_owned(),
    );
    format!("{file}:{}", at.line)
}

/// Writes words in lines, the first after `first`, the others after `next`.
fn wrapped(text: &mut String, first: &str, next: &str, words: &str) {
    text.push_str(&lines::wrapped(first, next, words));
}
