//! What is printed of changes: planned, made, taken back, past.

use serde_json::Value;

use super::build::{Field, count, list, number, object, or_null, rate, text, time, word};
use super::origin;

/// What `plan` prints.
pub(super) fn planned() -> Value {
    object("What would change, and why", &plan())
}

/// What `apply` and `phase` print.
pub(super) fn applied() -> Value {
    let mut fields = vec![
        ("writes", count("How many writes to the kernel were made")),
        (
            "writes_to_finish",
            count("How many of them finished a change that was cut off before"),
        ),
        (
            "confirm_within_seconds",
            or_null(count(
                "How long there is to confirm it before it is undone; null where that was not asked for",
            )),
        ),
    ];
    fields.extend(plan());
    object("The change was made", &fields)
}

/// What `confirm` prints, and what ends or extends a change that waits.
pub(super) fn settled() -> Value {
    object(
        "A change that waited to be confirmed, or was on its way: it stays, was taken back, or was given more time",
        &[
            ("change", count("Its number in the history")),
            ("what", text("What was ordered")),
            (
                "writes",
                count("How many writes to the kernel were made for it now"),
            ),
            ("phase", or_null(text("The phase that holds now"))),
        ],
    )
}

/// What `history` prints.
pub(super) fn history() -> Value {
    let file = super::status::file();
    let change = object(
        "A change",
        &[
            ("change", count("Its number")),
            ("ordered", time("When it was ordered")),
            ("ended", or_null(time("When it came to its end"))),
            ("by", text("Who ordered it")),
            ("what", text("What was ordered, or what came true")),
            (
                "state",
                word(
                    "Where it stands",
                    &[
                        "applying",
                        "undoing",
                        "stuck",
                        "unconfirmed",
                        "done",
                        "undone",
                    ],
                ),
            ),
            ("phase_before", or_null(text("The phase that held before"))),
            ("phase_after", or_null(text("The phase that it entered"))),
            (
                "policy",
                or_null(text(
                    "The hash of the policy that it put into force: SHA-256 of what sha256sum prints of its files",
                )),
            ),
            ("files", list("The files of that policy", &file)),
            ("because", or_null(text("Why it was taken back"))),
        ],
    );
    object(
        "The changes of the past",
        &[("changes", list("The last one first", &change))],
    )
}

fn plan() -> Vec<Field<'static>> {
    vec![
        (
            "cut_off",
            or_null(text(
                "A change that was cut off, which the next apply finishes first",
            )),
        ),
        (
            "at_work",
            or_null(text(
                "Who is changing the kernel at this moment: what is shown is then a step on the way",
            )),
        ),
        (
            "files",
            word(
                "Whether its policy files are those in force, or others, which come into force with it",
                &["in_force", "new"],
            ),
        ),
        (
            "phase_now",
            or_null(text(
                "The phase that holds; null on a host that was never told one",
            )),
        ),
        (
            "phase_then",
            text("The phase that would hold, or holds now"),
        ),
        ("ramp_seconds", number("How long the way there takes")),
        (
            "notes",
            list(
                "What the policy says and this version does not hold, and what of this host it does not reach",
                &text("In words"),
            ),
        ),
        (
            "changes",
            list(
                "Devices and classes in the order of the tree, then the packet filter and its blocks",
                &change(),
            ),
        ),
        (
            "rules",
            word(
                "What happens to the rules of the packet filter",
                &["keep", "add", "change", "remove"],
            ),
        ),
        (
            "rule_writes",
            count("In how many writes the rules change: each is one transaction"),
        ),
        (
            "stages",
            count("How many stages: each is acknowledged before the next"),
        ),
        ("ops", count("How many writes in all")),
    ]
}

fn change() -> Value {
    object(
        "What happens to a device, a class, a block, or the table of the packet filter",
        &[
            ("action", word("What happens", &["add", "change", "remove"])),
            (
                "device",
                or_null(text("The device; null for the packet filter")),
            ),
            (
                "direction",
                or_null(word(
                    "The traffic that it is about: what leaves over the circuit, or what arrives; null where both",
                    &["up", "down"],
                )),
            ),
            (
                "place",
                text(
                    "The place, such as internet.class.gateway; or the device, table or block in words",
                ),
            ),
            (
                "class_id",
                or_null(text("The class, as tc writes it; null where there is none")),
            ),
            (
                "was",
                or_null(figures(
                    "What the class is; null where it comes, or only rules change",
                )),
            ),
            (
                "will",
                or_null(figures(
                    "What the class will be; null where it goes, or only rules change",
                )),
            ),
            (
                "rules",
                or_null(object(
                    "How the rules that lead there change, in words",
                    &[
                        ("removed", list("Those that go", &text("A rule"))),
                        ("added", list("Those that come", &text("A rule"))),
                        (
                            "moved",
                            list("Those that are asked in another order", &text("A rule")),
                        ),
                    ],
                )),
            ),
            (
                "replaces",
                or_null(text(
                    "Somebody else's root qdisc that goes for it, for good",
                )),
            ),
            (
                "why",
                or_null(reason("Why; null for what the policy no longer names")),
            ),
            ("also", list("What else is a reason", &reason("A reason"))),
        ],
    )
}

fn reason(doc: &str) -> Value {
    object(
        doc,
        &[
            ("phase", text("The phase that is or was being entered")),
            (
                "origin",
                or_null(origin("Where it was written; null of what is built in")),
            ),
            (
                "what",
                text("In words: split.access, class.gateway, 2% of share"),
            ),
        ],
    )
}

fn figures(doc: &str) -> Value {
    let whole = |doc: &str| or_null(count(doc));
    object(
        doc,
        &[
            (
                "parent",
                or_null(text("The place above it; null at the root")),
            ),
            ("guarantee", or_null(rate("What it has for certain"))),
            ("ceiling", or_null(rate("What it never goes beyond"))),
            ("priority", whole("Who is served first: 0 first, 7 last")),
            (
                "weight",
                whole("How spare capacity is divided within a priority"),
            ),
            ("quantum", whole("Bytes for each turn")),
            (
                "leaf",
                or_null(text(
                    "The queue in which its packets wait, with its settings",
                )),
            ),
            (
                "burst_ns",
                whole("How long it may send at once at its guarantee, in nanoseconds"),
            ),
            (
                "ceiling_burst_ns",
                whole("How long it may send at once at its ceiling, in nanoseconds"),
            ),
            ("overhead", whole("Bytes that the link adds to each packet")),
            (
                "link_layer",
                or_null(word("How the link frames packets", &["ethernet", "atm"])),
            ),
        ],
    )
}
