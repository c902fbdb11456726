//! What `explain` prints.

use serde_json::Value;

use super::build::{flag, list, object, or_null, rate, text, word};
use super::{because, origin};

/// What `explain` prints.
pub(super) fn explained() -> Value {
    let answer = object(
        "What some ports meet alike",
        &[
            (
                "services",
                list(
                    "What was asked for, as far as it meets the same",
                    &text("tcp/443, udp/5000-5099"),
                ),
            ),
            (
                "cases",
                list("What it meets, on each way that it may go", &case()),
            ),
        ],
    );
    object(
        "Which class and which block a connection meets, and why",
        &[
            ("from", end("Who opens it")),
            ("to", end("Who is asked")),
            ("service", text("For what, as it was asked for")),
            (
                "service_at",
                or_null(origin(
                    "Where that service was written; null of what is built in",
                )),
            ),
            (
                "dscp",
                or_null(text(
                    "How the packets of who opens it are marked, where that was asked for",
                )),
            ),
            ("phase", text("The phase")),
            ("phase_known", text("Why that one is told about")),
            (
                "notes",
                list("What is to be kept in mind", &text("In words")),
            ),
            ("answers", list("What it meets", &answer)),
        ],
    )
}

fn end(doc: &str) -> Value {
    object(
        doc,
        &[
            ("address", text("The address")),
            (
                "stands_for",
                or_null(text(
                    "What was asked for, where that is not an address: group session-hosts",
                )),
            ),
            ("at", or_null(origin("Where that was written"))),
        ],
    )
}

fn case() -> Value {
    object(
        "What it meets on one way",
        &[
            (
                "requests",
                or_null(passage(
                    "The way of its requests; null where they end at this host",
                )),
            ),
            (
                "replies",
                or_null(passage(
                    "The way of the replies; null where they end at this host",
                )),
            ),
            (
                "either_way",
                flag("Whether it meets the same where it is opened from the other side"),
            ),
            (
                "circuits",
                list("The circuits that it crosses", &text("A circuit")),
            ),
            ("rejected", or_null(rejected())),
            (
                "excepted",
                list(
                    "The blocks that hold and let it through",
                    &block(
                        "A block that lets it through",
                        "Where it was written, and the exception",
                    ),
                ),
            ),
            (
                "not_held",
                list(
                    "The blocks that would reject it, and do not hold now",
                    &block(
                        "A block that does not hold",
                        "Where it was written, and why it does not hold",
                    ),
                ),
            ),
        ],
    )
}

fn passage(doc: &str) -> Value {
    object(
        doc,
        &[
            (
                "arrival",
                or_null(text(
                    "The device by which packets come; null where the policy names none there",
                )),
            ),
            (
                "departure",
                or_null(text(
                    "The device by which they leave; null where the policy names none there",
                )),
            ),
            ("own", flag("Whether this host itself sends them")),
            (
                "classes",
                list("The classes that they meet, in that order", &met()),
            ),
        ],
    )
}

fn met() -> Value {
    let level = object(
        "A place and what it is given",
        &[
            ("place", text("The place")),
            ("class", class()),
            (
                "guarantee",
                rate("What it has for certain; a circuit's share"),
            ),
            ("ceiling", rate("What it never goes beyond")),
            ("because", because("Where that comes from")),
        ],
    );
    object(
        "A class",
        &[
            (
                "tree",
                word(
                    "The tree: of what leaves over the circuit, or of what came over it",
                    &["up", "down"],
                ),
            ),
            ("device", text("The device at whose root that tree is")),
            ("circuit", text("The circuit")),
            ("place", text("The place in the tree")),
            ("class", class()),
            ("because", list("Why it is this one", &because("A reason"))),
            (
                "rule",
                text("The rule of the packet filter that decides, in words"),
            ),
            ("chain", text("The chain in which that rule stands")),
            (
                "levels",
                list(
                    "What the place and those above it are given, from the circuit down",
                    &level,
                ),
            ),
            (
                "beyond",
                or_null(text(
                    "Where it goes beyond what control takes a second; null where that does not matter",
                )),
            ),
        ],
    )
}

fn class() -> Value {
    or_null(text(
        "Its class, as tc writes it; null where its number is not known",
    ))
}

fn rejected() -> Value {
    object(
        "The block that rejects it; null where none does",
        &[
            ("block", text("The block")),
            (
                "because",
                list(
                    "Where it was written, and why it holds",
                    &because("A reason"),
                ),
            ),
            (
                "answer",
                word(
                    "How who opens it is told: by a TCP reset, or by an ICMP error (administratively prohibited)",
                    &["reset", "prohibited"],
                ),
            ),
            (
                "open",
                word(
                    "What becomes of connections that are open already: they may finish, or are cut",
                    &["draining", "rejecting"],
                ),
            ),
            ("until", or_null(text("The condition that lifts it"))),
            ("waits_for", or_null(because("What that waits for"))),
        ],
    )
}

fn block(doc: &str, why: &str) -> Value {
    object(
        doc,
        &[
            ("block", text("The block")),
            ("because", list(why, &because("A reason"))),
        ],
    )
}
