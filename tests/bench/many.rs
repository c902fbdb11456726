//! Many classes on one circuit, in wanshift's words and in FireQOS'.

use std::fmt::Write;

use crate::edge::ALWAYS;

/// What the line carries in either direction, in bit/s.
pub const LINE: f64 = 100e6;

/// The line of the edge. Queues are of a kind that every kernel has, so that both make the same.
pub const HOST: &str = "name = \"edge\"\ninside = [\"lan0\"]\n\
                        [circuit.internet]\ndevice = \"wan0\"\ncapacity = \"100mbit\"\nleaf = \"pfifo\"\n";

/// The phase in which each class has its second guarantee.
pub const AFTER: &str = "after";

/// One class: what is sent to an address range and what comes back from there.
pub struct Class {
    pub to: String,
    /// `udp` or `tcp`, and the port; all of it where there is none.
    pub service: Option<(&'static str, u16)>,
    /// What it is guaranteed, in kbit/s: before, and after a change.
    pub guarantee: [u32; 2],
}

/// So many that are guaranteed 80 of the 100 mbit together, and after a change another sum.
pub fn even(count: u32, after_kbit: u32) -> Vec<Class> {
    let of = |number: u32| Class {
        to: format!("10.128.{}.{}/32", number / 200, 1 + number % 200),
        service: None,
        guarantee: [80_000 / count, after_kbit / count],
    };
    (0..count).map(of).collect()
}

/// So many that never change.
pub fn steady(count: u32) -> Vec<Class> {
    even(count, 80_000)
}

/// A policy file of these; with a second phase where one of them changes.
pub fn policy(classes: &[Class]) -> String {
    let mut text = ALWAYS.to_owned();
    let mut after = String::new();
    for (number, class) in classes.iter().enumerate() {
        let Class { to, guarantee, .. } = class;
        let service = class.service.map_or(String::new(), |(protocol, port)| {
            format!(", service = [\"{protocol}/{port}\"]")
        });
        let [before, later] = guarantee;
        writeln!(
            text,
            "[class.c{number}]\ncircuit = \"internet\"\nguarantee = \"{before}kbit\"\n\
             match = [{{ to = [\"{to}\"]{service} }}]"
        )
        .unwrap();
        if later != before {
            writeln!(after, "class.c{number} = {{ guarantee = \"{later}kbit\" }}").unwrap();
        }
    }
    if !after.is_empty() {
        text.push_str(&format!("[phase.{AFTER}]\n{after}"));
    }
    text
}

/// A configuration of these for FireQOS, with the guarantees before a change or after it: both directions,
/// all of one priority, leaves as wanshift gives this line, and a default as large as its rest.
pub fn fireqos(classes: &[Class], which: usize) -> String {
    let mut text = "FIREQOS_DEFAULT_QDISC_OPTIONS_pfifo=\"limit 277\"\n\
                    interface wan0 wan bidirectional rate 100mbit minrate 50kbit balanced qdisc pfifo\n"
        .to_owned();
    for (number, class) in classes.iter().enumerate() {
        let (protocol, port) = class
            .service
            .map_or(Default::default(), |(protocol, port)| {
                (format!(" {protocol}"), format!(" dport {port}"))
            });
        let (kbit, to) = (class.guarantee[which], &class.to);
        writeln!(
            text,
            "class c{number} commit {kbit}kbit\n  match output{protocol} dst {to}{port}"
        )
        .unwrap();
    }
    text + "class default commit 2mbit\n"
}
