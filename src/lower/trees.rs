//! The HTB trees.
//!
//! An upward tree that circuits share has one control, below the pool: HTB has one `default`, and what never meets the packet
//! filter may be any circuit's. Its guarantee is the sum of what the circuits give to theirs, and so much less has each
//! circuit's class for certain; its share it reaches all the same, since what it lacks is left in the pool above it.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::once;

use super::layout::{Layout, Top, arrivals, layouts};
use super::missing::meant;
use super::{Absent, Facts, LowerError, figures};
use crate::model::circuit::{Circuit, LeafChoice, LinkLayer, Overhead, Pool, TakeOver};
use crate::model::class::{Priority, Weight};
use crate::model::desired::{Desired, Holding};
use crate::model::ids::Ids;
use crate::model::names::{DeviceName, Origin};
use crate::model::node::{NodeKey, Place, Spot};
use crate::model::state::{Device, Edge, LeafKind, Minor, Role, Root, Selector, TcClass, Tree};
use crate::policy::Policy;
use crate::units::{Direction, Rate};

/// The trees, of places that have their numbers: all that the steps of a ramp change.
///
/// # Errors
/// All that stands in the way, not the first only.
pub fn trees(
    policy: &Policy,
    desired: &Desired,
    facts: &Facts,
    ids: &Ids,
) -> Result<BTreeMap<DeviceName, Tree>, Vec<LowerError>> {
    let mut trees = BTreeMap::new();
    let mut errors = Vec::new();
    for layout in layouts(policy) {
        let mut making = Making {
            policy,
            desired,
            facts,
            ids,
            layout: &layout,
            errors: &mut errors,
        };
        if let Some(tree) = making.tree() {
            trees.insert(layout.device.clone(), tree);
        }
    }
    if errors.is_empty() {
        Ok(trees)
    } else {
        Err(errors)
    }
}

/// What the class of a circuit has for certain in a tree that it shares: its share without its part of control.
fn in_shared_tree(share: Rate, control: Rate) -> Rate {
    Rate::floor(share.bits().saturating_sub(control.bits()))
}

/// The packets of an ordinary Ethernet device, for what arrives where none of the devices by which it would is there yet.
const ETHERNET: (u32, u32, u32) = (1_500, 14, 65_536);

/// The making of one tree.
struct Making<'a> {
    policy: &'a Policy,
    desired: &'a Desired,
    facts: &'a Facts,
    ids: &'a Ids,
    layout: &'a Layout<'a>,
    errors: &'a mut Vec<LowerError>,
}

/// How a link counts packets.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Framing {
    overhead: Overhead,
    link_layer: LinkLayer,
}

impl Framing {
    const fn of(circuit: &Circuit) -> Self {
        Self {
            overhead: circuit.overhead,
            link_layer: circuit.link_layer,
        }
    }
}

impl Making<'_> {
    /// The tree; `None` where something stands in the way, or its device is waited for.
    fn tree(&mut self) -> Option<Tree> {
        let layout = self.layout;
        let before = self.errors.len();
        let device = self.device()?;
        self.take_over(&device);
        let mut classes = BTreeMap::new();
        let control = layout.control();
        for top in &layout.tops {
            let above = match top {
                Top::Pool(pool, circuits) => {
                    self.pool(pool, circuits, control.as_ref(), &device, &mut classes)
                }
                Top::Circuit(_) => None,
            };
            for circuit in top.circuits() {
                self.circuit(circuit, above, control.as_ref(), &device, &mut classes);
            }
        }
        if self.errors.len() > before {
            return None;
        }
        Some(Tree {
            major: self.ids.major(&layout.device)?,
            default: Minor::CONTROL,
            selector: match layout.direction {
                Direction::Up => Selector::Priority,
                Direction::Down => Selector::Mark(self.policy.host().mark_mask),
            },
            classes,
        })
    }

    /// What the packets of the tree are like: those that leave by its device, or those that arrive over its circuits.
    fn device(&mut self) -> Option<Device> {
        let layout = self.layout;
        for circuit in layout.circuits() {
            self.reach(circuit);
        }
        if layout.direction == Direction::Up {
            let device = self.facts.devices.get(&layout.device);
            if device.is_none() && layout.circuits().all(|own| own.device != layout.device) {
                let origin = layout.origin().unwrap_or(&self.policy.host().origin);
                self.lacks(layout.owner(), origin, &layout.device);
            }
            return device.cloned();
        }
        let arrive = layout
            .circuits()
            .filter_map(|circuit| self.facts.devices.get(&circuit.device));
        let largest = |one: Device, other: &Device| Device {
            mtu: one.mtu.max(other.mtu),
            header: one.header.max(other.header),
            gso_max: one.gso_max.max(other.gso_max),
            ..one
        };
        let found = self.facts.devices.get(&layout.device);
        let none = Device {
            index: 0,
            mtu: 0,
            header: 0,
            gso_max: 0,
            kind: String::new(),
            lower: None,
            master: None,
            up: false,
            priority_map: false,
            root: found.map_or_else(
                || Root::Default {
                    kind: String::new(),
                },
                |found| found.root.clone(),
            ),
            edge: Edge::None,
        };
        let mut arriving = arrive.fold(none, largest);
        if arriving.mtu == 0 {
            (arriving.mtu, arriving.header, arriving.gso_max) = ETHERNET;
        }
        Some(arriving)
    }

    /// A device is not there.
    fn lacks(&mut self, who: String, origin: &Origin, device: &DeviceName) {
        match self.facts.absent {
            Absent::Refused => self.errors.push(LowerError::NoDevice {
                origin: origin.clone(),
                who,
                device: device.clone(),
                near: meant(self.policy, self.facts.devices.keys(), device),
            }),
            Absent::Waited => {}
        }
    }

    /// Whether a circuit can be shaped through its device.
    fn reach(&mut self, circuit: &Circuit) {
        if self.layout.direction == Direction::Down {
            return; // It is said where its upward tree is made.
        }
        if !self.facts.devices.contains_key(&circuit.device) {
            let who = format!("circuit `{}`", circuit.name);
            self.lacks(who, &circuit.origin, &circuit.device);
        }
        for name in arrivals(circuit) {
            let Some(device) = self.facts.devices.get(name) else {
                continue;
            };
            // The priority goes down with the packet.
            let stack = once((name, device)).chain(self.facts.below(device));
            for (name, _) in stack.filter(|(_, device)| device.priority_map) {
                let error = LowerError::PriorityMap {
                    circuit: circuit.name.clone(),
                    device: name.clone(),
                };
                if !self.errors.contains(&error) {
                    self.errors.push(error);
                }
            }
        }
    }

    /// Whether the device may be taken.
    fn take_over(&mut self, device: &Device) {
        let layout = self.layout;
        let adopted = layout.direction == Direction::Up
            && layout
                .circuits()
                .any(|circuit| circuit.takeover == TakeOver::Adopt);
        if let (Root::Foreign(root), false) = (&device.root, adopted) {
            let (device, root) = (layout.device.clone(), root.clone());
            self.errors.push(match layout.direction {
                Direction::Up => LowerError::ForeignRoot {
                    who: layout.owner(),
                    device,
                    root,
                },
                Direction::Down => LowerError::ForeignOnIfb { device, root },
            });
        }
        let strangers = self.facts.strangers.iter();
        self.errors.extend(
            strangers
                .filter(|stranger| stranger.device == layout.device)
                .cloned()
                .map(|stranger| LowerError::Stranger { stranger }),
        );
    }

    fn pool(
        &mut self,
        pool: &Pool,
        circuits: &[&Circuit],
        control: Option<&Spot>,
        device: &Device,
        classes: &mut BTreeMap<Minor, TcClass>,
    ) -> Option<Minor> {
        let direction = self.layout.direction;
        let minor = self.ids.pool(&pool.name)?;
        let room = self.desired.pools.get(&pool.name)?.get(direction);
        // Packets of the pool count as those of its circuits do, where these are of one mind.
        let mut framings = circuits.iter().map(|circuit| Framing::of(circuit));
        let framing = framings.next().unwrap_or_default();
        let framing = if framings.all(|other| other == framing) {
            framing
        } else {
            Framing::default()
        };
        classes.insert(minor, class(room, room, None, framing, Role::Inner, device));
        if control == Some(&Spot::PoolControl(pool.name.clone())) {
            let parts = circuits.iter().filter_map(|circuit| {
                let key = NodeKey::new(circuit.name.clone(), Place::Control);
                Some((key.clone(), *self.desired.nodes.get(&key)?))
            });
            let parts: Vec<(NodeKey, Holding)> = parts.collect();
            let sum = parts
                .iter()
                .map(|(_, part)| part.guarantee.get(direction).bits())
                .fold(0, u64::saturating_add);
            let leaf = circuits
                .first()
                .map_or(LeafChoice::Best, |circuit| circuit.leaf);
            if let Some((key, _)) = parts.first()
                && let Some(role) = self.leaf(key, leaf, Priority::FIRST, Weight::ONE, room, device)
            {
                let control = class(Rate::floor(sum), room, Some(minor), framing, role, device);
                classes.insert(Minor::CONTROL, control);
            }
        }
        Some(minor)
    }

    fn circuit(
        &mut self,
        circuit: &Circuit,
        above: Option<Minor>,
        control: Option<&Spot>,
        device: &Device,
        classes: &mut BTreeMap<Minor, TcClass>,
    ) {
        let direction = self.layout.direction;
        let framing = Framing::of(circuit);
        // Places are in order, the circuits' first.
        let first = NodeKey::new(circuit.name.clone(), Place::Circuit);
        let nodes = &self.desired.nodes;
        let places: Vec<(&NodeKey, &Holding)> = nodes
            .range(first..)
            .take_while(|(key, _)| key.circuit == circuit.name)
            .collect();
        // A site's own classes are all that lies deeper than on the circuit.
        let inner: BTreeSet<NodeKey> = places
            .iter()
            .filter(|(key, _)| key.depth() > 1)
            .filter_map(|(key, _)| key.parent())
            .collect();
        let top = NodeKey::new(circuit.name.clone(), Place::Circuit);
        let top = self.ids.minor(&top);
        let mut made = Vec::with_capacity(places.len());
        let mut minors = self.ids.in_order();
        for (key, holding) in places {
            if key.place == Place::Control && control.and_then(Spot::node) != Some(key) {
                continue;
            }
            let Some(minor) = minors.minor(key) else {
                continue;
            };
            let (mut rate, ceil) = (
                holding.guarantee.get(direction),
                holding.ceiling.get(direction),
            );
            if key.place == Place::Circuit && matches!(control, Some(Spot::PoolControl(_))) {
                let part = NodeKey::new(circuit.name.clone(), Place::Control);
                let part = nodes.get(&part);
                rate = part.map_or(rate, |part| {
                    in_shared_tree(rate, part.guarantee.get(direction))
                });
            }
            let role = if key.place == Place::Circuit || inner.contains(key) {
                Some(Role::Inner)
            } else {
                let Holding {
                    leaf,
                    priority,
                    weight,
                    ..
                } = *holding;
                self.leaf(key, leaf, priority, weight, ceil, device)
            };
            let Some(role) = role else {
                continue;
            };
            let parent = match key.depth() {
                0 => above,
                1 => top,
                _ => key.parent().and_then(|parent| self.ids.minor(&parent)),
            };
            made.push((minor, class(rate, ceil, parent, framing, role, device)));
        }
        // Put in order at once, for there are thousands, and by where they lie, for they are long.
        let mut order: Vec<(Minor, &TcClass)> =
            made.iter().map(|(minor, class)| (*minor, class)).collect();
        order.sort_unstable_by_key(|(minor, _)| *minor);
        let order = order.into_iter();
        classes.append(&mut order.map(|(minor, class)| (minor, class.clone())).collect());
    }

    /// A class that holds packets; `None` where the kernel has no such queue, which is then said.
    fn leaf(
        &mut self,
        place: &NodeKey,
        choice: LeafChoice,
        priority: Priority,
        weight: Weight,
        ceil: Rate,
        device: &Device,
    ) -> Option<Role> {
        match leaf_kind(place, choice, &self.facts.leaves) {
            Ok(kind) => Some(Role::Leaf {
                priority,
                quantum: figures::quantum(weight, device),
                leaf: Some(figures::leaf(kind, ceil, device)),
            }),
            Err(error) => {
                self.errors.push(error);
                None
            }
        }
    }
}

fn class(
    rate: Rate,
    ceil: Rate,
    parent: Option<Minor>,
    framing: Framing,
    role: Role,
    device: &Device,
) -> TcClass {
    TcClass {
        parent,
        rate,
        ceil,
        burst: figures::burst(rate, device),
        cburst: figures::burst(ceil, device),
        overhead: framing.overhead,
        link_layer: framing.link_layer,
        role,
    }
}

/// The kind of leaf for a place: what was asked for, or the best there is.
fn leaf_kind(
    place: &NodeKey,
    choice: LeafChoice,
    have: &BTreeSet<LeafKind>,
) -> Result<LeafKind, LowerError> {
    let kind = match choice {
        LeafChoice::Best => {
            let best = [LeafKind::FqCodel, LeafKind::Sfq];
            return Ok(best
                .into_iter()
                .find(|kind| have.contains(kind))
                .unwrap_or(LeafKind::Pfifo));
        }
        LeafChoice::Pfifo => LeafKind::Pfifo,
        LeafChoice::Sfq => LeafKind::Sfq,
        LeafChoice::FqCodel => LeafKind::FqCodel,
        LeafChoice::Cake => LeafKind::Cake,
    };
    if have.contains(&kind) {
        return Ok(kind);
    }
    Err(LowerError::NoLeaf {
        place: place.clone(),
        kind,
        have: have.iter().map(|kind| kind.name().to_owned()).collect(),
    })
}
