//! What `status` prints; the daemon's HTTP address tells the same at `/status`.

use serde_json::Value;

use super::build::{count, flag, list, map, number, object, or_null, rate, text, time, word};
use crate::api::Stage;

/// What `status` prints.
pub(super) fn status() -> Value {
    let name = text("A name");
    object(
        "What holds, why, and since when",
        &[
            (
                "host",
                text("The host's name; empty where no policy was ever good"),
            ),
            ("at", time("When this was so, by the host's clock")),
            ("daemon", or_null(daemon())),
            (
                "healthy",
                flag("Whether all is as it should be. Where it is not, the exit code is 1"),
            ),
            ("problems", list("What is not as it should be", &problem())),
            ("policy", or_null(policy())),
            ("phase", or_null(phase())),
            ("phases", list("The phases of the policy", &name)),
            ("circuits", list("The circuits, by name", &circuit())),
            (
                "classes",
                list(
                    "The classes of all circuits, in the order of the tree",
                    &class(),
                ),
            ),
            (
                "blocks",
                list("The blocks of the policy, by name", &block()),
            ),
            (
                "conditions",
                list("The conditions of the policy, by name", &condition()),
            ),
            ("pending", or_null(pending())),
            (
                "files_taken_back",
                flag(
                    "Whether the policy files are those that were taken back: they stay out of force until the next apply",
                ),
            ),
            ("stuck", or_null(stuck())),
            ("last_change", or_null(last_change())),
            ("repairs", repairs()),
            (
                "failures",
                map(
                    "How often something failed since the daemon began, by stage",
                    &count("How often"),
                ),
            ),
            ("sampling", or_null(sampling())),
        ],
    )
}

/// A policy file, and the hash of what it says.
pub(super) fn file() -> Value {
    object(
        "A policy file",
        &[
            ("name", text("Where it was read")),
            ("sha256", text("SHA-256 of what it said")),
        ],
    )
}

fn daemon() -> Value {
    object(
        "The daemon; null where none runs",
        &[
            ("version", text("Its version")),
            ("pid", count("Its process")),
            ("since", time("Since when it runs")),
        ],
    )
}

fn problem() -> Value {
    let stages: Vec<&str> = Stage::ALL.iter().map(|stage| stage.name()).collect();
    object(
        "A problem",
        &[
            ("stage", word("Where it lies", &stages)),
            ("what", text("What, why, and what to do")),
            ("since", time("Since when")),
        ],
    )
}

fn policy() -> Value {
    object(
        "The last good policy",
        &[
            (
                "hash",
                text(
                    "SHA-256 of what sha256sum prints of its files, in the order in which they are read",
                ),
            ),
            ("files", list("Its files", &file())),
            ("since", time("Since when it is the last good one")),
        ],
    )
}

fn phase() -> Value {
    let shifting = object(
        "The way into another phase; null where none is being entered",
        &[
            ("to", text("The phase that is being entered")),
            ("done", number("How much of the time is over, 0 to 1")),
            ("seconds_left", number("How long it goes on")),
        ],
    );
    object(
        "The phase that holds; null where nothing was applied yet",
        &[
            ("name", text("Its name")),
            (
                "holds",
                word(
                    "How much of it is to hold: whole, its blocks alone, or nothing where all was taken out",
                    &["whole", "blocks", "nothing"],
                ),
            ),
            ("since", time("Since when it holds, or that much of it")),
            ("by", text("Who entered it")),
            (
                "because",
                text("By what: the words of the order, or what came true"),
            ),
            (
                "until",
                or_null(text(
                    "What ends it by itself, and what follows then, in words",
                )),
            ),
            ("shifting", or_null(shifting)),
        ],
    )
}

fn circuit() -> Value {
    object(
        "A circuit",
        &[
            ("name", text("Its name")),
            ("device", text("Its device")),
            ("present", flag("Whether the device is there")),
            ("pool", or_null(text("The pool that it shares"))),
            ("up", direction("What leaves")),
            (
                "down",
                or_null(direction("What arrives; null where that is not shaped")),
            ),
        ],
    )
}

fn direction(doc: &str) -> Value {
    object(
        doc,
        &[
            ("share", rate("What the circuit is given at this moment")),
            (
                "capacity",
                rate("What it could be given at the most: its pool's capacity, else its own"),
            ),
            ("rate", carried()),
            ("bytes", count("Bytes since the daemon began")),
            (
                "hot_seconds",
                number("Seconds of samples at 95 % of the share or more, since the daemon began"),
            ),
            (
                "saturated_seconds",
                number(
                    "Seconds of those in which packets were dropped, or ever more of them waited",
                ),
            ),
        ],
    )
}

fn carried() -> Value {
    or_null(number(
        "What it carried in the last sample, in bit/s; null before there were two samples",
    ))
}

fn class() -> Value {
    object(
        "A class",
        &[
            (
                "place",
                text("Its place: internet.class.gateway, mpls.site.provins, internet.rest"),
            ),
            ("up", or_null(line("What leaves"))),
            (
                "down",
                or_null(line("What arrives; null where that is not shaped")),
            ),
        ],
    )
}

fn line(doc: &str) -> Value {
    object(
        doc,
        &[
            ("guarantee", rate("What it has for certain at this moment")),
            ("ceiling", rate("What it never goes beyond")),
            ("rate", carried()),
            ("bytes", count("Bytes since the daemon began")),
            ("packets", count("Packets since the daemon began")),
            ("drops", count("Packets dropped since the daemon began")),
            ("backlog_bytes", count("Bytes that wait")),
        ],
    )
}

fn block() -> Value {
    let states = [
        "holding",
        "draining",
        "lifted",
        "resting",
        "absent",
        "taken_out",
    ];
    object(
        "A block",
        &[
            ("name", text("Its name")),
            (
                "state",
                word(
                    "holding: it rejects. draining: it rejects what is new. lifted: its condition is true. resting: its \
                     schedule lets pass now. absent: the phase does not bring it. taken_out: the phase brings it, and \
                     all was taken out of the kernel",
                    &states,
                ),
            ),
            ("because", text("Why, in words")),
            (
                "since",
                or_null(time(
                    "Since when it holds without a break; null where it does not hold",
                )),
            ),
            (
                "planned_until",
                or_null(time(
                    "When it should be lifted, where its condition names a date",
                )),
            ),
            ("rejected_packets", count("Packets that it rejected")),
        ],
    )
}

fn condition() -> Value {
    object(
        "A condition",
        &[
            ("name", text("Its name")),
            ("true", flag("Whether it is true")),
            ("since", or_null(time("Since when it is"))),
            ("because", text("Why it is, or what it waits for, in words")),
        ],
    )
}

fn pending() -> Value {
    object(
        "The change that is undone unless it is confirmed; null where none waits",
        &[
            ("change", count("Its number in the history")),
            ("what", text("What was ordered")),
            ("by", text("By whom")),
            ("ordered", time("When")),
            (
                "seconds_left",
                count("How long there still is to confirm it"),
            ),
        ],
    )
}

fn stuck() -> Value {
    object(
        "The change that was to be taken back and could not be, so far; null where there is none",
        &[
            ("change", count("Its number in the history")),
            ("what", text("What was ordered")),
            ("since", time("Since when")),
        ],
    )
}

fn last_change() -> Value {
    object(
        "The last change that came to its end; null where there was none",
        &[
            ("change", count("Its number in the history")),
            ("what", text("What was ordered, or what came true")),
            ("by", text("By whom")),
            ("at", time("When it ended")),
            ("outcome", word("How it ended", &["done", "undone"])),
        ],
    )
}

fn repairs() -> Value {
    object(
        "What somebody else changed of ours, and was put right",
        &[
            ("count", count("How often, since the daemon began")),
            ("last", or_null(time("The last time"))),
            ("what", or_null(text("What was done then, in words"))),
            (
                "changes",
                list(
                    "What was changed then: device by device, then the packet filter; 20 at most",
                    &repaired(),
                ),
            ),
            ("more", count("How many more were")),
        ],
    )
}

fn repaired() -> Value {
    let rates = |doc: &str| {
        or_null(object(
            doc,
            &[
                ("guarantee", rate("What it has for certain")),
                ("ceiling", rate("What it never goes beyond")),
            ],
        ))
    };
    object(
        "A thing that somebody else changed, and that was put back",
        &[
            (
                "device",
                or_null(text("The device; null for the packet filter")),
            ),
            (
                "class_id",
                or_null(text("The class, as tc writes it; null where there is none")),
            ),
            (
                "place",
                text(
                    "The place of a class, such as internet.class.gateway; else the device, filter, table or block in words",
                ),
            ),
            (
                "found",
                rates(
                    "The rates that were found; null where it was gone, or it is about no class's rates",
                ),
            ),
            (
                "restored",
                rates(
                    "The rates that it has again; null where it was taken out, or it is about no class's rates",
                ),
            ),
            ("what", text("All of that in one line")),
        ],
    )
}

fn sampling() -> Value {
    object(
        "How counters are read; null where no daemon does",
        &[
            ("interval_seconds", number("How far apart")),
            ("last", or_null(time("The last time that they were"))),
        ],
    )
}
