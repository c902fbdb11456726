//! What the kernel holds of ours, and what stands at the devices' roots.
//!
//! Ours is what the kernel alone shows as ours: an HTB root whose handle is in the range of
//! [`Major`] and whose default is a [`Minor`], its classes, and the leaves at them. A class of such a
//! tree whose minor is outside of the range of `Minor`, or that hangs below such a one, is a
//! stranger's: it is told beside what is ours, and left alone.
//!
//! Dumps tear: beside concurrent adding and deleting they miss or double objects that stood still,
//! and the kernel does not say so. So a read is checked against itself (each parent is there, each
//! inner class has children, each leaf that a class names was seen, each device has the root that it
//! names), and it counts only once the next one finds the same.
//!
//! Filters are asked for only where some of ours may be: where packets leave a device that has a `clsact`, and at
//! the root of the IFB's tree.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use super::filter;
use super::htb;
use super::leaves;
use super::message::{
    EDGE, Messages, ROOT, RTM_GETQDISC, RTM_GETTCLASS, TCA_KIND, TCA_OPTIONS, TcObject, attributes,
    text,
};
use super::socket::RouteSocket;
use crate::kernel::KernelError;
use crate::kernel::ifb::is_ifb;
use crate::kernel::link::{self, Link};
use crate::model::names::DeviceName;
use crate::model::state::{
    Device, Edge, Feed, ForeignRoot, Ifb, Leaf, Major, Minor, Role, Root, Selector, Stranger,
    TcClass, Tree,
};

/// How often is read until two in a row agree.
const TRIES: usize = 64;

/// The traffic control that is ours, and every device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The trees, by the device whose root they are.
    pub trees: BTreeMap<DeviceName, Tree>,
    /// The IFB; `None` where there is none.
    pub ifb: Option<Ifb>,
    /// The feeds, by the device that packets are about to leave by.
    pub feeds: BTreeMap<DeviceName, Feed>,
    /// Every device, by name.
    pub devices: BTreeMap<DeviceName, Device>,
    /// Classes in those trees that are not ours, those that hang deepest first.
    pub strangers: Vec<Stranger>,
}

impl Seen {
    /// Whether both found the same of what is ours, and the same places for it.
    fn agrees(&self, other: &Self) -> bool {
        let edges = |seen: &Self| -> Vec<(u32, Edge)> {
            let devices = seen.devices.values();
            devices
                .filter(|device| device.edge != Edge::None)
                .map(|device| (device.index, device.edge))
                .collect()
        };
        self.trees == other.trees
            && self.ifb == other.ifb
            && self.feeds == other.feeds
            && edges(self) == edges(other)
    }
}

/// Reads until two reads in a row agree on what is ours.
///
/// # Errors
/// Where a dump fails, or no two reads in a row agree.
pub fn observe(socket: &mut RouteSocket) -> Result<Seen, KernelError> {
    let mut before: Option<Seen> = None;
    let mut why = String::from("two reads in a row never agreed");
    for _ in 0..TRIES {
        match read(socket)? {
            Ok(seen) => {
                if before.is_some_and(|before| before.agrees(&seen)) {
                    return Ok(seen);
                }
                before = Some(seen);
            }
            Err(torn) => {
                before = None;
                why = torn;
            }
        }
    }
    Err(KernelError::Decode {
        what: "traffic control",
        why,
    })
}

/// One read; inside, what contradicts itself in it.
fn read(socket: &mut RouteSocket) -> Result<Result<Seen, String>, KernelError> {
    let failed = |what| move |cause| KernelError::Read { what, cause };
    let links = link::links(socket).map_err(failed("the network devices"))?;
    let qdiscs = qdiscs(socket).map_err(failed("the queueing disciplines"))?;
    if let Some(torn) = qdiscs.torn {
        return Ok(Err(torn));
    }
    let mut seen = Seen::default();
    let ifb = links
        .iter()
        .find(|link| link.name.as_str() == Ifb::NAME && is_ifb(link));
    seen.ifb = ifb.map(|link| Ifb { up: link.up });
    let ifb = ifb.map(|link| link.index);
    for link in links {
        let (root, tree) = match qdiscs.roots.get(&link.index) {
            // Between the dumps, or torn. Other kinds may come and go: they are not ours.
            found
                if (link.qdisc.as_bytes() == htb::KIND)
                    != found.is_some_and(|root| root.kind.as_bytes() == htb::KIND) =>
            {
                return Ok(Err(format!("the root of {} changed", link.name)));
            }
            Some(root) => match root.tree() {
                Some(tree) => (Root::Ours, Some(tree)),
                None => (root.describe(), None),
            },
            // A device that was never up has a root that no dump shows: `noop`.
            None => {
                let kind = link.qdisc.clone();
                (Root::Default { kind }, None)
            }
        };
        if let Some((major, default)) = tree {
            let classes =
                settled(socket, link.index, major).map_err(failed("the traffic classes"))?;
            match assemble(&link, classes, &qdiscs.leaves) {
                Ok((classes, mut strangers)) => {
                    seen.strangers.append(&mut strangers);
                    let selector = if Some(link.index) == ifb {
                        let root = u32::from(major.get()) << 16;
                        let filters = filter::at(socket, link.index, root);
                        filter::selector(&filters.map_err(failed("the filters"))?, major)
                    } else {
                        Ok(Selector::Priority)
                    };
                    let selector = match selector {
                        Ok(selector) => selector,
                        Err(torn) => return Ok(Err(torn)),
                    };
                    let tree = Tree {
                        major,
                        default,
                        selector,
                        classes,
                    };
                    seen.trees.insert(link.name.clone(), tree);
                }
                Err(torn) => return Ok(Err(torn)),
            }
        }
        let edge = qdiscs.edges.get(&link.index).copied().unwrap_or_default();
        if edge == Edge::Clsact {
            let filters = filter::at(socket, link.index, filter::EGRESS);
            match filter::feed(&filters.map_err(failed("the filters"))?, ifb) {
                Ok(feed) => seen
                    .feeds
                    .extend(feed.map(|feed| (link.name.clone(), feed))),
                Err(torn) => return Ok(Err(torn)),
            }
        }
        let device = Device {
            index: link.index,
            mtu: link.mtu,
            header: link.header,
            gso_max: link.gso_max,
            kind: link.kind,
            lower: link.lower,
            master: link.master,
            up: link.up,
            priority_map: link.priority_map,
            root,
            edge,
        };
        seen.devices.insert(link.name, device);
    }
    Ok(Ok(seen))
}

/// The root qdisc of a device.
#[derive(Debug)]
struct RootSeen {
    handle: u32,
    kind: String,
    default: Option<Minor>,
}

impl RootSeen {
    /// Handle and default class, where it is ours.
    fn tree(&self) -> Option<(Major, Minor)> {
        let major = Major::new(upper(self.handle))?;
        (lower(self.handle) == 0)
            .then_some(self.default)
            .flatten()
            .map(|default| (major, default))
    }

    fn describe(&self) -> Root {
        let kind = self.kind.clone();
        match upper(self.handle) {
            0 => Root::Default { kind },
            major => Root::Foreign(ForeignRoot { kind, major }),
        }
    }
}

/// What stands at a class.
#[derive(Debug, Clone, Copy)]
struct LeafSeen {
    handle: u32,
    leaf: Leaf,
}

#[derive(Debug, Default)]
struct Qdiscs {
    /// By device index.
    roots: HashMap<u32, RootSeen>,
    /// By device index and class id, where that could be ours.
    leaves: HashMap<(u32, u32), LeafSeen>,
    /// By device index.
    edges: HashMap<u32, Edge>,
    torn: Option<String>,
}

fn qdiscs(socket: &mut RouteSocket) -> io::Result<Qdiscs> {
    let header = |messages: &mut Messages| messages.tc_header(0, 0, 0);
    socket.dump(RTM_GETQDISC, header, Qdiscs::default, |seen, payload| {
        let Some(qdisc) = TcObject::read(payload) else {
            seen.torn = Some("a qdisc without a header".to_owned());
            return;
        };
        let (kind, options) = kind_and_options(&qdisc);
        let doubled = if qdisc.parent == ROOT {
            let root = RootSeen {
                handle: qdisc.handle,
                kind: String::from_utf8_lossy(kind).into_owned(),
                default: (kind == htb::KIND)
                    .then(|| htb::decode_root(options))
                    .flatten(),
            };
            seen.roots.insert(qdisc.index, root).is_some()
        } else if qdisc.parent == EDGE {
            let edge = filter::edge_of(kind).unwrap_or_default();
            seen.edges.insert(qdisc.index, edge).is_some()
        } else if Major::new(upper(qdisc.parent)).is_some() {
            let leaf = LeafSeen {
                handle: qdisc.handle,
                leaf: leaves::decode(kind, options),
            };
            let place = (qdisc.index, qdisc.parent);
            seen.leaves.insert(place, leaf).is_some()
        } else {
            false
        };
        if doubled {
            seen.torn = Some(format!("qdisc {:x} came twice", qdisc.handle));
        }
    })
}

fn kind_and_options<'a>(object: &TcObject<'a>) -> (&'a [u8], &'a [u8]) {
    let (mut kind, mut options): (&[u8], &[u8]) = (&[], &[]);
    for (attribute, value) in attributes(object.attributes) {
        match attribute {
            TCA_KIND => kind = text(value),
            TCA_OPTIONS => {
                options = value;
                break; // What follows is statistics; the kernel puts the kind first.
            }
            _ => {}
        }
    }
    (kind, options)
}

/// A class as its message has it.
#[derive(Debug, PartialEq, Eq)]
struct ClassSeen {
    id: u32,
    parent: u32,
    leaf: u32,
    class: Option<TcClass>,
}

/// How many dumps in a row must show nothing new, where one told a class twice or one that is not ours: of those
/// that stand still, each dump misses others.
const ENOUGH: usize = 6;

/// The classes of a tree: of one dump, or of several together where somebody is adding and deleting beside it.
fn settled(socket: &mut RouteSocket, index: u32, major: Major) -> io::Result<Vec<ClassSeen>> {
    let first = classes(socket, index, major)?;
    let mut known: BTreeMap<u32, (ClassSeen, usize)> = BTreeMap::new();
    let count = first.len();
    known.extend(first.into_iter().map(|class| (class.id, (class, 0))));
    let theirs = |id: &u32| Minor::new(lower(*id)).is_none();
    if known.len() == count && !known.keys().any(theirs) {
        return Ok(known.into_values().map(|(class, _)| class).collect());
    }
    let (mut round, mut news) = (0, 0);
    while round < news + ENOUGH && round < TRIES {
        round += 1;
        for class in classes(socket, index, major)? {
            let (id, ours) = (class.id, Minor::new(lower(class.id)).is_some());
            if known.insert(id, (class, round)).is_none() && ours {
                news = round;
            }
        }
    }
    // What none of them showed is gone.
    let lately = |(class, at): (ClassSeen, usize)| (at + ENOUGH > round).then_some(class);
    Ok(known.into_values().filter_map(lately).collect())
}

fn classes(socket: &mut RouteSocket, index: u32, major: Major) -> io::Result<Vec<ClassSeen>> {
    let root = u32::from(major.get()) << 16;
    // With the root as parent the kernel leaves out the classes of the leaves.
    let header = |messages: &mut Messages| messages.tc_header(index, 0, root);
    socket.dump(RTM_GETTCLASS, header, Vec::new, |seen, payload| {
        let Some(object) = TcObject::read(payload) else {
            return;
        };
        let (kind, options) = kind_and_options(&object);
        if kind != htb::KIND || object.index != index || upper(object.handle) != major.get() {
            return;
        }
        let parent = (object.parent != ROOT)
            .then(|| Minor::new(lower(object.parent)))
            .flatten();
        seen.push(ClassSeen {
            id: object.handle,
            parent: object.parent,
            leaf: object.info,
            class: htb::decode_class(parent, options),
        });
    })
}

/// Puts the classes of a tree together with their leaves.
///
/// # Errors
/// Says what contradicts itself.
fn assemble(
    link: &Link,
    seen: Vec<ClassSeen>,
    leaves: &HashMap<(u32, u32), LeafSeen>,
) -> Result<(BTreeMap<Minor, TcClass>, Vec<Stranger>), String> {
    let parents: HashMap<u32, u32> = seen.iter().map(|class| (class.id, class.parent)).collect();
    if parents.len() != seen.len() {
        return Err(format!("a class of {} came twice", link.name));
    }
    let inner: HashSet<u32> = parents.values().copied().collect();
    let mut classes = BTreeMap::new();
    let mut strangers = Vec::new();
    for ClassSeen {
        id,
        parent,
        leaf,
        class,
    } in seen
    {
        let name = format_args!("class {} of {}", class_id(id), link.name);
        let mut class = class.ok_or_else(|| format!("{name} has options that are not HTB's"))?;
        if parent != ROOT && !parents.contains_key(&parent) {
            return Err(format!("the parent of {name} was not seen"));
        }
        if matches!(class.role, Role::Inner) != inner.contains(&id) {
            return Err(format!(
                "the children of {name} were not seen, or came late"
            ));
        }
        let Some(minor) = Minor::new(lower(id)).filter(|_| !below_stranger(parent, &parents))
        else {
            strangers.push((depth(parent, &parents), id, parent));
            continue;
        };
        if let Role::Leaf { leaf: place, .. } = &mut class.role {
            *place = match leaf {
                0 => None, // The kernel's own, which it never shows.
                handle => {
                    let found = leaves
                        .get(&(link.index, id))
                        .filter(|found| found.handle == handle)
                        .ok_or_else(|| format!("the leaf of {name} was not seen"))?;
                    let ours = u32::from(minor.get()) << 16;
                    Some(if handle == ours {
                        found.leaf
                    } else {
                        Leaf::Other
                    })
                }
            };
        }
        classes.insert(minor, class);
    }
    strangers.sort_unstable_by_key(|(depth, id, _)| (Reverse(*depth), *id));
    let strangers = strangers.into_iter().map(|(_, id, parent)| Stranger {
        device: link.name.clone(),
        class: class_id(id),
        parent: (parent != ROOT).then(|| class_id(parent)),
    });
    Ok((classes, strangers.collect()))
}

/// As `tc` writes it.
fn class_id(id: u32) -> String {
    format!("{:x}:{:x}", upper(id), lower(id))
}

/// How deep a class hangs whose parent is `parent`.
fn depth(mut parent: u32, parents: &HashMap<u32, u32>) -> usize {
    let above = std::iter::from_fn(|| {
        let next = parents.get(&parent).copied()?;
        parent = next;
        Some(())
    });
    above.take(LEVELS).count()
}

/// More than HTB has; a bound against a dump that goes in a circle.
const LEVELS: usize = 16;

/// Whether a class that hangs at `parent` hangs, at whatever depth, at one that is not ours.
fn below_stranger(mut parent: u32, parents: &HashMap<u32, u32>) -> bool {
    for _ in 0..LEVELS {
        if parent == ROOT {
            return false;
        }
        if Minor::new(lower(parent)).is_none() {
            return true;
        }
        match parents.get(&parent) {
            Some(above) => parent = *above,
            None => return false,
        }
    }
    true
}

/// The major of a handle.
pub(super) const fn upper(handle: u32) -> u16 {
    let [high, low, _, _] = handle.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// The minor of a handle.
pub(super) const fn lower(handle: u32) -> u16 {
    let [_, _, high, low] = handle.to_be_bytes();
    u16::from_be_bytes([high, low])
}
