//! A state of the kernel as the commands of `ip` and `tc` that make it where nothing of ours is: what
//! [`apply`](super::apply) would send, in words that an administrator knows and can paste.
//!
//! It stands beside the codec, and takes handles, programs and options from there, so that both say the same.
//!
//! **What `tc` cannot say.** It takes a burst in whole bytes and makes a time of it (before iproute2 6.14 in whole
//! microseconds); the kernel keeps the time. A burst that is no whole number of bytes is given the next one, which is a
//! byte's time or a microsecond off at the most, and that is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{bpf, filter, htb, leaves};
use crate::lower::Names;
use crate::lower::figures::burst_bytes;
use crate::model::circuit::{LinkLayer, Overhead};
use crate::model::class::Priority;
use crate::model::names::DeviceName;
use crate::model::state::{
    Clsact, Device, Feed, Ifb, KernelState, Leaf, Minor, Role, Root, Selector, Takes, TcClass,
    Ticks, Tree,
};
use crate::units::Rate;

/// How long a line is, where that can be chosen.
const WIDTH: usize = 80;

/// Commands that make a state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// Lines for a shell, which come first: devices are made by `ip`.
    pub links: String,
    /// Lines for `tc -batch`, with remarks.
    pub batch: String,
    /// What `tc` cannot say as it is, each in a line.
    pub unsaid: Vec<String>,
}

/// The commands that make the trees, the IFB and the feeds of `state` on a host with these devices that has nothing of ours.
#[must_use]
pub fn script(
    state: &KernelState,
    names: &Names,
    devices: &BTreeMap<DeviceName, Device>,
) -> Script {
    let mut script = Script::default();
    if let Some(Ifb { up }) = state.ifb {
        let (name, kind) = (Ifb::NAME, Ifb::KIND);
        let _ = writeln!(script.links, "ip link add {name} type {kind}");
        // Without an address of its own it says nothing by itself. A kernel without IPv6 knows nothing of such.
        let _ = writeln!(script.links, "ip link set {name} addrgenmode none || :");
        if up {
            let _ = writeln!(script.links, "ip link set {name} up");
        }
    }
    for (device, tree) in &state.trees {
        let root = devices.get(device).map(|device| &device.root);
        Writer {
            script: &mut script,
            names,
            device,
            tree,
        }
        .tree(root);
    }
    for (device, feed) in &state.feeds {
        self::feed(&mut script, device, *feed);
    }
    script
}

/// Writes one tree.
struct Writer<'a> {
    script: &'a mut Script,
    names: &'a Names,
    device: &'a DeviceName,
    tree: &'a Tree,
}

impl Writer<'_> {
    fn tree(&mut self, root: Option<&Root>) {
        let (device, major) = (self.device, self.tree.major.get());
        let way = match root {
            Some(Root::Foreign(foreign)) => {
                self.line(&format!("# {device}, instead of {foreign}"));
                "replace"
            }
            Some(Root::Default { .. } | Root::Ours) | None => {
                self.line(&format!("# {device}"));
                "add"
            }
        };
        self.line(&format!(
            "qdisc {way} dev {device} root handle {major:x}: htb default {:x}",
            self.tree.default.get()
        ));
        self.below(None);
        match self.tree.selector {
            Selector::Priority => {}
            Selector::Mark(mask) => {
                let program = bpf::selector_program(self.tree.major, mask);
                self.line("# the class of a packet stands in its mark");
                self.line(&format!(
                    "filter add dev {device} parent {major:x}: protocol all prio {} handle {} \\\n    bpf bytecode \"{}\"",
                    filter::SELECTOR_PRIORITY,
                    filter::SELECTOR,
                    bpf::bytecode(&program)
                ));
            }
            Selector::Drifted => self.unsaid("its filter is somebody else's"),
        }
        self.line("");
    }

    /// The classes below one, each followed by its own: the upper ones must be there first.
    fn below(&mut self, parent: Option<Minor>) {
        let tree = self.tree;
        for (minor, class) in &tree.classes {
            // A class that were its own parent would have no end.
            if class.parent == parent && parent != Some(*minor) {
                self.class(*minor, class);
                if class.role == Role::Inner {
                    self.below(Some(*minor));
                }
            }
        }
    }

    fn class(&mut self, minor: Minor, class: &TcClass) {
        let (device, major) = (self.device, self.tree.major.get());
        let id = format!("{major:x}:{:x}", minor.get());
        if let Some(spot) = self.names.spot(device, minor) {
            self.line(&format!("# {spot}"));
        }
        let parent = class
            .parent
            .map_or_else(String::new, |parent| format!("{:x}", parent.get()));
        let (priority, quantum) = match &class.role {
            Role::Inner => (Priority::FIRST, htb::INNER_QUANTUM),
            Role::Leaf {
                priority, quantum, ..
            } => (*priority, *quantum),
        };
        let burst = self.bytes(&id, class.rate, class.burst);
        let cburst = self.bytes(&id, class.ceil, class.cburst);
        let mut text = format!(
            "class add dev {device} parent {major:x}:{parent} classid {id} htb \\\n    \
             rate {} burst {burst}b ceil {} cburst {cburst}b prio {} quantum {quantum}",
            self::rate(class.rate),
            self::rate(class.ceil),
            priority.get()
        );
        if class.overhead != Overhead::default() {
            let _ = write!(text, " overhead {}", class.overhead.0);
        }
        match class.link_layer {
            LinkLayer::Ethernet => {}
            LinkLayer::Atm => text.push_str(" linklayer atm"),
        }
        self.line(&text);
        if let Role::Leaf {
            leaf: Some(leaf), ..
        } = class.role
        {
            self.leaf(minor, &id, leaf);
        }
    }

    fn leaf(&mut self, minor: Minor, id: &str, leaf: Leaf) {
        let device = self.device;
        let Some(words) = leaves::words(leaf) else {
            self.unsaid(&format!("class {id}: its queue is somebody else's"));
            return;
        };
        let place = format!(
            "qdisc add dev {device} parent {id} handle {:x}:",
            minor.get()
        );
        let fits = place.len() + words.len() < WIDTH;
        let between = if fits { " " } else { " \\\n    " };
        self.line(&format!("{place}{between}{words}"));
    }

    /// How many bytes a burst is; where that is no whole number, the next one.
    fn bytes(&mut self, id: &str, rate: Rate, burst: Ticks) -> u128 {
        burst_bytes(rate, burst).unwrap_or_else(|| {
            let (second, ns) = (rate.bytes_per_second(), burst.nanoseconds());
            let bytes = (u128::from(second) * u128::from(ns)).div_ceil(1_000_000_000);
            self.unsaid(&format!(
                "class {id}: a burst of {ns} ns at {}; {bytes} bytes are nearest",
                self::rate(rate)
            ));
            bytes
        })
    }

    fn unsaid(&mut self, what: &str) {
        let text = format!("{}: {what}", self.device);
        if !self.script.unsaid.contains(&text) {
            self.script.unsaid.push(text);
        }
    }

    fn line(&mut self, text: &str) {
        self.script.batch.push_str(text);
        self.script.batch.push('\n');
    }
}

fn feed(script: &mut Script, device: &DeviceName, feed: Feed) {
    let Takes::Marked(mask) = feed.takes else {
        let what = format!("{device}: its filter is somebody else's");
        script.unsaid.push(what);
        return;
    };
    let ifb = Ifb::NAME;
    let text = &mut script.batch;
    let _ = writeln!(
        text,
        "# what arrived and leaves by {device}: by way of {ifb}"
    );
    match feed.clsact {
        Clsact::Ours => {
            let _ = writeln!(text, "qdisc add dev {device} clsact");
        }
        Clsact::Theirs => {}
    }
    let _ = writeln!(
        text,
        "filter add dev {device} egress protocol all prio {} handle {} \\\n    bpf bytecode \"{}\" \\\n    \
         action mirred egress redirect dev {ifb}",
        filter::FEED_PRIORITY,
        filter::feed_handle(feed.clsact),
        bpf::bytecode(&bpf::feed_program(mask))
    );
}

/// A rate in the largest unit in which it is a whole number: `tc` reads others by floating point, and cuts.
fn rate(rate: Rate) -> String {
    let bits = rate.bits();
    let units = [
        ("gbit", 1_000_000_000),
        ("mbit", 1_000_000),
        ("kbit", 1_000),
    ];
    let unit = units
        .iter()
        .find(|(_, scale)| bits > 0 && bits.is_multiple_of(*scale));
    match unit {
        Some((name, scale)) => format!("{}{name}", bits / scale),
        None => format!("{bits}bit"),
    }
}
