//! What stands around what is ours: devices, routes, and what takes packets past the packet filter.
//!
//! Nothing of it is ever written; it is read to tell what a policy cannot reach.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::names::DeviceName;

/// What the kernel shows beside what is ours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Surroundings {
    /// The devices of this network namespace, by the kernel's index.
    pub devices: BTreeMap<u32, Neighbour>,
    /// Where packets are routed, by the index of the device that they leave by.
    pub routes: BTreeMap<u32, Routes>,
    /// What offloads connections; `None` where that may not be read.
    pub flowtables: Option<Vec<Flowtable>>,
}

/// A device, as far as it matters who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its name.
    pub name: DeviceName,
    /// Its kind, as the kernel calls it: `vlan`, `vrf`; empty for hardware.
    pub kind: String,
    /// The index of the device that it stands on.
    pub lower: Option<u32>,
}

/// The unicast routes that lead out by a device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Routes {
    /// To what is on the link itself.
    pub near: Prefixes,
    /// To what lies behind a gateway.
    pub far: Prefixes,
}

/// Some prefixes, the widest first, of which a few are kept: a host may have a million routes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Prefixes {
    few: BTreeSet<(u8, IpNet)>,
    more: bool,
}

/// A flow table of the packet filter (anybody's): a connection in it is forwarded past the filter's chains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flowtable {
    /// The table's family and name.
    pub table: String,
    /// Its own name.
    pub name: String,
    /// The devices at which it takes packets, as written: a name may end in `*`.
    pub devices: Vec<String>,
}

impl Prefixes {
    /// So many are kept.
    pub const FEW: usize = 3;

    /// Adds one.
    pub fn add(&mut self, prefix: IpNet) {
        self.few.insert((prefix.prefix_len(), prefix));
        if self.few.len() > Self::FEW {
            self.few.pop_last();
            self.more = true;
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.few.is_empty()
    }

    /// Those of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.more |= other.more;
        for (_, prefix) in &other.few {
            both.add(*prefix);
        }
        both
    }
}

impl std::fmt::Display for Prefixes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let few: Vec<String> = self.few.iter().map(|(_, net)| net.to_string()).collect();
        let more = if self.more { " and more" } else { "" };
        f.pad(&format!("{}{more}", few.join(", ")))
    }
}

impl Flowtable {
    /// Whether it takes packets at that device.
    #[must_use]
    pub fn takes_at(&self, device: &DeviceName) -> bool {
        self.devices
            .iter()
            .any(|name| match name.strip_suffix('*') {
                Some(start) => device.as_str().starts_with(start),
                None => device.as_str() == name,
            })
    }
}

impl Surroundings {
    /// Adds a unicast route by the device with that index. What every device has or is no unicast is left
    /// out: link-local and multicast prefixes.
    pub fn add_route(&mut self, device: u32, prefix: IpNet, through: Through) {
        let every = match prefix {
            IpNet::V4(net) => net.network().is_link_local() || net.network().is_multicast(),
            IpNet::V6(net) => net.network().is_unicast_link_local() || net.network().is_multicast(),
        };
        if every {
            return;
        }
        let routes = self.routes.entry(device).or_default();
        match through {
            Through::Link => routes.near.add(prefix),
            Through::Gateway => routes.far.add(prefix),
        }
    }

    /// The device of that name, with its index.
    #[must_use]
    pub fn device(&self, name: &DeviceName) -> Option<(u32, &Neighbour)> {
        self.devices
            .iter()
            .find(|(_, device)| device.name == *name)
            .map(|(index, device)| (*index, device))
    }

    /// The indices of all devices below that one, at whatever depth.
    #[must_use]
    pub fn below(&self, name: &DeviceName) -> BTreeSet<u32> {
        let mut below = BTreeSet::new();
        let mut next = self.device(name).and_then(|(_, device)| device.lower);
        while let Some(index) = next {
            // One that stands on itself ends here too.
            if !below.insert(index) {
                break;
            }
            next = self.devices.get(&index).and_then(|device| device.lower);
        }
        below
    }
}

/// How a route leads on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// To the link itself.
    Link,
    /// To a gateway on it.
    Gateway,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn the_widest_few_are_kept() {
        let mut prefixes = Prefixes::default();
        assert!(prefixes.is_empty());
        for text in ["10.1.0.0/16", "10.1.2.0/24", "0.0.0.0/0", "10.1.0.0/16"] {
            prefixes.add(net(text));
        }
        assert_eq!(prefixes.to_string(), "0.0.0.0/0, 10.1.0.0/16, 10.1.2.0/24");
        prefixes.add(net("10.1.2.3/32"));
        prefixes.add(net("2001:db8::/32"));
        assert_eq!(
            prefixes.to_string(),
            "0.0.0.0/0, 10.1.0.0/16, 10.1.2.0/24 and more"
        );
        let mut wide = Prefixes::default();
        wide.add(net("::/0"));
        assert_eq!(
            wide.and(&prefixes).to_string(),
            "0.0.0.0/0, ::/0, 10.1.0.0/16 and more"
        );
    }

    #[test]
    fn what_every_device_has_is_no_route() {
        let mut around = Surroundings::default();
        for text in ["fe80::/64", "ff00::/8", "169.254.0.0/16", "224.0.0.0/4"] {
            around.add_route(2, net(text), Through::Link);
        }
        assert!(around.routes.is_empty());
        around.add_route(2, net("0.0.0.0/0"), Through::Gateway);
        around.add_route(2, net("fd00::/8"), Through::Link);
        assert_eq!(around.routes[&2].far.to_string(), "0.0.0.0/0");
        assert_eq!(around.routes[&2].near.to_string(), "fd00::/8");
    }

    #[test]
    fn what_a_device_stands_on_is_below_it() {
        let device = |name: &str, lower| Neighbour {
            name: name.parse().unwrap(),
            kind: String::new(),
            lower,
        };
        let mut around = Surroundings::default();
        around.devices.insert(1, device("eth0", None));
        around.devices.insert(2, device("eth0.7", Some(1)));
        around.devices.insert(3, device("ppp0", Some(2)));
        around.devices.insert(4, device("odd0", Some(4)));
        let below = |name: &str| around.below(&name.parse().unwrap());
        assert_eq!(below("ppp0"), BTreeSet::from([1, 2]));
        assert_eq!(below("eth0"), BTreeSet::new());
        assert_eq!(below("odd0"), BTreeSet::from([4]));
        assert_eq!(below("none0"), BTreeSet::new());
    }
}
