//! What is printed of files, conditions, blocks, and of taking all out.

use serde_json::{Value, json};

use super::build::{count, flag, list, map, object, object_with, or_null, rate, text, time, word};
use super::note;

/// What `check` prints of a policy that may be applied.
pub(super) fn checked() -> Value {
    let counts = [
        "circuits",
        "pools",
        "classes",
        "sites",
        "phases",
        "blocks",
        "conditions",
    ];
    let counts = counts.map(|what| (what, count(&format!("How many {what}"))));
    object(
        "The policy may be applied",
        &[
            ("valid", json!({ "const": true })),
            ("host", text("The host, as its file names it")),
            ("counts", object("What there is in the policy", &counts)),
            (
                "notes",
                list(
                    "What is worth a look; with --lint-fatal the exit code is then 3",
                    &note(),
                ),
            ),
        ],
    )
}

/// What `render` prints.
pub(super) fn rendered() -> Value {
    object(
        "What the policy comes to",
        &[
            ("what", word("For which program", &["tc", "nft"])),
            ("host", text("The host, as its file names it")),
            ("phase", text("The phase")),
            (
                "assumed",
                list(
                    "What could not be known and was taken to be so",
                    &text("In words"),
                ),
            ),
            (
                "unsaid",
                list("What the program cannot say as it is", &text("In words")),
            ),
            ("text", text("The script for sh, or the file for nft -f")),
        ],
    )
}

/// What `teardown` prints.
pub(super) fn torn_down() -> Value {
    object(
        "Everything of wanshift's was taken out of the kernel, or all but the blocks",
        &[
            ("writes", count("How many writes to the kernel were made")),
            (
                "phase",
                or_null(text(
                    "The phase that the next apply enters again; null where none was ever entered",
                )),
            ),
        ],
    )
}

/// What `restore-blocks` prints.
pub(super) fn restored() -> Value {
    object_with(
        "What was done so that what was blocked is blocked",
        &[(
            "outcome",
            word(
                "nothing_blocks: nothing is to be blocked. there_already: the packet filter holds the table, and it is \
                 left as it is. blocked: these hold again. at_work: another wanshift is at work, and sees to it",
                &["nothing_blocks", "there_already", "blocked", "at_work"],
            ),
        )],
        &[
            (
                "blocks",
                list("The blocks that hold again", &text("A block")),
            ),
            ("by", text("Who is at work")),
        ],
    )
}

/// What `event` prints.
pub(super) fn reported() -> Value {
    let mut fields = vec![
        ("event", text("The event")),
        ("at", time("When it was reported")),
        ("by", text("By whom")),
        (
            "became_true",
            map(
                "The conditions that became true by it",
                &object("Why", &latch()),
            ),
        ),
    ];
    fields.extend(effects());
    let follows = object(
        "Where the phase that holds is over by it: which one follows; null where it is not",
        &[
            ("phase", text("The phase that holds")),
            ("then", text("The one that follows")),
        ],
    );
    fields.push(("follows", or_null(follows)));
    object("The event is on record", &fields)
}

/// What `condition` and `condition list` print.
pub(super) fn conditions() -> Value {
    let term = object(
        "What it waits for, or waited for",
        &[
            ("what", text("In words")),
            ("true", flag("Whether it is true by itself at this moment")),
        ],
    );
    let one = object_with(
        "A condition",
        &[
            ("name", text("Its name")),
            ("true", flag("Whether it is true")),
            (
                "on_record",
                flag(
                    "Whether that is on record yet; if not, the next apply, phase or event puts it there",
                ),
            ),
            (
                "needs",
                word(
                    "Whether one of its terms is enough, or all are needed",
                    &["any", "all"],
                ),
            ),
            ("terms", list("Its terms", &term)),
        ],
        &latch(),
    );
    object(
        "The conditions of the policy",
        &[
            (
                "clock_trusted",
                flag("Whether the host's clock is believed: where it is not, no date counts"),
            ),
            (
                "conditions",
                list("By name; why they are true where they are", &one),
            ),
        ],
    )
}

/// What `condition reset` prints.
pub(super) fn reset() -> Value {
    object(
        "The condition is false again",
        &[
            ("condition", text("The condition")),
            ("was_true", flag("Whether it was true")),
            (
                "no_longer",
                object("What it had meant, and means no longer", &effects()),
            ),
        ],
    )
}

fn latch() -> [(&'static str, Value); 3] {
    let cause = |name: &str, value: Value| object("By this", &[(name, value)]);
    let speed = object(
        "A device had the speed for long enough",
        &[
            ("device", text("The device")),
            ("speed", rate("The speed that it had")),
        ],
    );
    let cause = json!({ "oneOf": [
        cause("event", text("An event was reported")),
        cause("after", time("A date came")),
        cause("link_speed", speed),
        cause("condition", text("Another condition was true")),
    ]});
    [
        ("since", time("Since when it is true")),
        ("because", list("What made it true", &cause)),
        (
            "by",
            list("Who reported the events among that", &text("A user")),
        ),
    ]
}

fn effects() -> [(&'static str, Value); 4] {
    let rates = object(
        "What it carries",
        &[
            ("up", rate("Toward the provider")),
            ("down", rate("From the provider")),
        ],
    );
    [
        (
            "lifts",
            list("The blocks that no longer hold", &text("A block")),
        ),
        (
            "opens",
            list(
                "The phases that may be entered from now on",
                &text("A phase"),
            ),
        ),
        (
            "closes",
            list("The phases that may be entered no more", &text("A phase")),
        ),
        ("pools", map("The pools that carry something else", &rates)),
    ]
}
