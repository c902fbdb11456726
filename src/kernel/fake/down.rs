//! The downward half: the IFB, its selector, the feeds.

use super::{FakeKernel, refused};
use crate::kernel::OpError;
use crate::model::names::DeviceName;
use crate::model::state::{Clsact, Device, Edge, Feed, Ifb, Major, Root, Selector, Takes};

/// What the kernel puts at the root of a device of this kind by itself: one without a queue of its own
/// needs none.
pub(super) fn default_root(kind: &str) -> String {
    let root = if kind == Ifb::KIND {
        "pfifo_fast"
    } else {
        "noqueue"
    };
    root.to_owned()
}

/// By somebody else's hand.
impl FakeKernel {
    /// Takes a device away, and all that hangs at it.
    pub fn lose_device(&mut self, device: &DeviceName) {
        let lost = self.observed.devices.remove(device);
        let state = &mut self.observed.state;
        state.trees.remove(device);
        state.feeds.remove(device);
        self.observed
            .strangers
            .retain(|stranger| stranger.device != *device);
        self.hidden.retain(|(at, _), _| at != device);
        self.counted.retain(|(at, _), _| at != device);
        self.filtered.remove(device);
        if lost.is_some() && device.as_str() == Ifb::NAME {
            self.observed.state.ifb = None;
            // They are left leading nowhere, and no new device of the name is what they meant.
            for feed in self.observed.state.feeds.values_mut() {
                feed.takes = Takes::Drifted;
            }
        }
    }

    /// Gives a device a qdisc beside its root, with a filter in it or without, or takes it away with all that
    /// hangs in it.
    pub fn set_edge(&mut self, device: &DeviceName, edge: Edge, filtered: bool) {
        if let Some(found) = self.observed.devices.get_mut(device) {
            if found.edge != edge {
                self.observed.state.feeds.remove(device);
            }
            found.edge = edge;
        }
        if filtered && edge != Edge::None {
            self.filtered.insert(device.clone());
        } else {
            self.filtered.remove(device);
        }
    }
}

impl FakeKernel {
    pub(super) fn add_ifb(&mut self, device: &DeviceName) -> Result<(), OpError> {
        if self.observed.devices.contains_key(device) {
            return Err(refused(17, "File exists"));
        }
        self.last_index = self
            .observed
            .devices
            .values()
            .map(|device| device.index)
            .fold(self.last_index, u32::max)
            .saturating_add(1);
        let made = Device {
            index: self.last_index,
            mtu: 1_500,
            header: 14,
            gso_max: 65_536,
            kind: Ifb::KIND.to_owned(),
            lower: None,
            master: None,
            up: true,
            priority_map: false,
            root: Root::Default {
                kind: default_root(Ifb::KIND),
            },
            edge: Edge::None,
        };
        self.observed.devices.insert(device.clone(), made);
        if device.as_str() == Ifb::NAME {
            self.observed.state.ifb = Some(Ifb { up: true });
        }
        Ok(())
    }

    pub(super) fn raise_ifb(&mut self, device: &DeviceName) -> Result<(), OpError> {
        self.expect_ifb(device)?.up = true;
        if let Some(ifb) = &mut self.observed.state.ifb
            && device.as_str() == Ifb::NAME
        {
            ifb.up = true;
        }
        Ok(())
    }

    pub(super) fn delete_ifb(&mut self, device: &DeviceName) -> Result<(), OpError> {
        self.expect_ifb(device)?;
        self.lose_device(device);
        Ok(())
    }

    fn expect_ifb(&mut self, device: &DeviceName) -> Result<&mut Device, OpError> {
        let found = self.observed.devices.get_mut(device);
        found
            .filter(|found| found.kind == Ifb::KIND)
            .ok_or_else(|| refused(22, "the device of that name is not an IFB"))
    }

    pub(super) fn set_selector(
        &mut self,
        device: &DeviceName,
        major: Major,
        from: Selector,
        to: Selector,
    ) -> Result<(), OpError> {
        self.expect_ifb(device)?;
        if to == Selector::Drifted {
            return Err(refused(22, "somebody else's filter cannot be written"));
        }
        let tree = self
            .tree(device, major)
            .map_err(|_| refused(22, "Parent Qdisc doesn't exists"))?;
        let (is_there, was_there) = (
            tree.selector != Selector::Priority,
            from != Selector::Priority,
        );
        match (is_there, was_there) {
            // What is to go may be gone.
            _ if to == Selector::Priority => {}
            (true, false) => return Err(refused(17, "Filter already exists")),
            (false, true) => return Err(refused(2, "No such file or directory")),
            (true, true) | (false, false) => {}
        }
        tree.selector = to;
        Ok(())
    }

    pub(super) fn set_feed(
        &mut self,
        device: &DeviceName,
        from: Option<Feed>,
        to: Option<Feed>,
    ) -> Result<(), OpError> {
        let held = self.observed.state.feeds.get(device).copied();
        let edge = self
            .observed
            .devices
            .get(device)
            .map_or(Edge::None, |device| device.edge);
        let Some(to) = to else {
            let ours = from.is_some_and(|from| from.clsact == Clsact::Ours)
                && held.is_none_or(|held| held.clsact == Clsact::Ours);
            if edge == Edge::Clsact && ours && !self.filtered.contains(device) {
                self.edge_of(device, Edge::None);
            }
            self.observed.state.feeds.remove(device);
            return Ok(());
        };
        if to.takes == Takes::Drifted {
            let why = "what somebody else made of a feed cannot be written";
            return Err(refused(22, why));
        }
        if self.observed.state.ifb.is_none() {
            return Err(match Ifb::NAME.parse() {
                Ok(device) => OpError::NoDevice { device },
                Err(_) => refused(19, "No such device"),
            });
        }
        match (from, edge) {
            (None, Edge::None) if to.clsact == Clsact::Ours => {
                self.edge_of(device, Edge::Clsact);
            }
            (None, Edge::Clsact | Edge::Ingress) if to.clsact == Clsact::Ours => {
                return Err(refused(17, "there is a clsact or an ingress already"));
            }
            (_, Edge::None | Edge::Ingress) => return Err(refused(22, "there is no clsact")),
            (None, Edge::Clsact) if held.is_some() => {
                return Err(refused(17, "there is a feed already"));
            }
            (None, Edge::Clsact) => {}
            (Some(from), Edge::Clsact) => {
                if held.is_none_or(|held| held.clsact != from.clsact) {
                    return Err(refused(2, "the feed is gone"));
                }
            }
        }
        self.observed.state.feeds.insert(device.clone(), to);
        Ok(())
    }

    fn edge_of(&mut self, device: &DeviceName, edge: Edge) {
        if let Some(found) = self.observed.devices.get_mut(device) {
            found.edge = edge;
        }
    }
}
