//! What a policy cannot reach on this host: what is routed around its devices, and what goes past the packet filter.

use std::collections::BTreeSet;

use super::Note;
use crate::model::hold::ConditionTerm;
use crate::model::names::DeviceName;
use crate::model::state::Ifb;
use crate::model::surroundings::{Neighbour, Prefixes, Routes, Surroundings};
use crate::policy::{Policy, nearest};

/// The kind of device that forwarded packets never leave by: they leave by one of those in it.
const VRF: &str = "vrf";
const LOOPBACK: &str = "lo";

/// The notes over `policy` on a host that shows `around`.
#[must_use]
pub fn notes(policy: &Policy, around: &Surroundings) -> Vec<Note> {
    let own = Own::of(policy, around);
    let mut notes = own.absent();
    notes.extend(own.routes());
    notes.extend(own.flowtables());
    notes.extend(own.speeds());
    notes
}

/// Whether `policy` is for the host that shows `around`: the devices of all its circuits are there.
#[must_use]
pub fn is_of(policy: &Policy, around: &Surroundings) -> bool {
    let mut circuits = policy.circuits().values();
    circuits.all(|circuit| around.device(&circuit.device).is_some())
}

/// A note for each circuit whose device is not on the host that shows `around`, where it has one of them at least:
/// elsewhere the policy is for another host.
#[must_use]
pub fn without_device(policy: &Policy, around: &Surroundings) -> Vec<Note> {
    let circuits = policy.circuits().values();
    let (here, absent): (Vec<_>, Vec<_>) =
        circuits.partition(|circuit| around.device(&circuit.device).is_some());
    if here.is_empty() {
        return Vec::new();
    }
    absent
        .into_iter()
        .map(|circuit| {
            let device = &circuit.device;
            let here = around.devices.values().map(|here| here.name.as_str());
            let help = match nearest(device.as_str(), here) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "the daemon goes on without it, and takes it in once it is there".to_owned()
                }
            };
            let message = format!(
                "circuit `{}`: there is no device `{device}` here",
                circuit.name
            );
            Note::at(&circuit.origin, message, help)
        })
        .collect()
}

/// The policy's devices on this host.
struct Own<'a> {
    policy: &'a Policy,
    around: &'a Surroundings,
    /// By which packets have a class as they leave: a circuit's and the inside ones.
    named: BTreeSet<&'a DeviceName>,
    /// Those that carry circuits: what circuits stand on, and the access devices of pools.
    carriers: BTreeSet<u32>,
    /// Of these, those that a pool names: they cannot be anything else.
    access: BTreeSet<&'a DeviceName>,
}

impl<'a> Own<'a> {
    fn of(policy: &'a Policy, around: &'a Surroundings) -> Self {
        let circuits = policy.circuits().values();
        let of_circuits: BTreeSet<&DeviceName> = circuits
            .flat_map(|circuit| std::iter::once(&circuit.device).chain(&circuit.also))
            .collect();
        let access: BTreeSet<&DeviceName> = policy
            .pools()
            .values()
            .filter_map(|pool| pool.device.as_ref())
            .collect();
        let mut carriers: BTreeSet<u32> = of_circuits
            .iter()
            .flat_map(|device| around.below(device))
            .collect();
        carriers.extend(
            access
                .iter()
                .filter_map(|device| Some(around.device(device)?.0)),
        );
        let inside = policy.host().inside.iter();
        Self {
            policy,
            around,
            named: of_circuits.into_iter().chain(inside).collect(),
            carriers,
            access,
        }
    }

    /// A note for the inside devices that are not there: what must be done in an emergency does not wait for a tunnel.
    fn absent(&self) -> Vec<Note> {
        let inside = self.policy.host().inside.iter();
        let absent: Vec<String> = inside
            .filter(|device| self.around.device(device).is_none())
            .map(|device| format!("`{device}`"))
            .collect();
        let Some(names) = (!absent.is_empty()).then(|| absent.join(", ")) else {
            return Vec::new();
        };
        vec![Note::at(
            &self.policy.host().origin,
            format!(
                "there is no inside device {names} here: what arrives is not shaped as it leaves there"
            ),
            "should it come, apply again; if it is called otherwise, mend `inside`",
        )]
    }

    /// A note for each condition that waits for the speed of a device that is not there.
    fn speeds(&self) -> Vec<Note> {
        let conditions = self.policy.conditions().values();
        let absent = conditions.flat_map(|condition| {
            condition.terms.iter().filter_map(move |term| match term {
                ConditionTerm::LinkSpeed { device, .. } => {
                    let absent = self.around.device(device).is_none();
                    absent.then_some((condition, device))
                }
                ConditionTerm::Event(_) | ConditionTerm::After(_) | ConditionTerm::Condition(_) => {
                    None
                }
            })
        });
        absent
            .map(|(condition, device)| {
                let here = self.around.devices.values();
                let help = match nearest(device.as_str(), here.map(|here| here.name.as_str())) {
                    Some(near) => format!("should it come, all is well; or did you mean `{near}`?"),
                    None => "should it come, all is well; else correct the name".to_owned(),
                };
                Note::at(
                    &condition.origin,
                    format!(
                        "condition `{}` waits for the speed of device `{device}`, which is not here",
                        condition.name
                    ),
                    help,
                )
            })
            .collect()
    }

    /// A note for each device that packets are routed to and that the policy does not name.
    fn routes(&self) -> Vec<Note> {
        let routes = self.around.routes.iter();
        routes
            .filter_map(|(index, routes)| {
                let device = self.around.devices.get(index);
                let prefixes = self.escaping(*index, device, routes)?;
                let name = match device {
                    Some(device) => format!("`{}`", device.name),
                    // No policy could name it.
                    None => format!("number {index}"),
                };
                let access = device.is_some_and(|device| self.access.contains(&device.name));
                let on_tree = self.around.devices.get(index).is_some_and(|device| self.stands_on_tree(&device.name));
                let lost = if on_tree || access {
                    "and what goes out there is served before all classes of the circuit below, as if it were control"
                } else {
                    "and what goes out there is in no circuit's tree"
                };
                let help = if access {
                    "route it over a device of its own, such as a VLAN, and name that"
                } else {
                    "name the device in `inside` or, where it is one more name of a circuit, in that circuit's `also`"
                };
                Some(Note::at(
                    &self.policy.host().origin,
                    format!(
                        "{prefixes} is routed to device {name}, which is neither inside nor a circuit's: what arrives over a circuit \
                         and leaves there is not shaped down, {lost}"
                    ),
                    help,
                ))
            })
            .collect()
    }

    /// Whether a device stands on one at whose root circuits are shaped upward.
    fn stands_on_tree(&self, device: &DeviceName) -> bool {
        let circuits = self.policy.circuits().keys();
        let trees: BTreeSet<u32> = circuits
            .filter_map(|circuit| Some(self.around.device(self.policy.tree_device(circuit)?)?.0))
            .collect();
        !self.around.below(device).is_disjoint(&trees)
    }

    /// What is routed by a device and should not be.
    fn escaping(
        &self,
        index: u32,
        device: Option<&Neighbour>,
        routes: &Routes,
    ) -> Option<Prefixes> {
        let known = |device: &Neighbour| {
            self.named.contains(&device.name)
                || device.kind == VRF
                || [LOOPBACK, Ifb::NAME].contains(&device.name.as_str())
        };
        if device.is_some_and(known) {
            return None;
        }
        // The link that carries a circuit has addresses where a tunnel or a modem wants them; nobody is served there.
        let prefixes = if self.carriers.contains(&index) {
            routes.far.clone()
        } else {
            routes.near.and(&routes.far)
        };
        (!prefixes.is_empty()).then_some(prefixes)
    }

    /// A note for each flow table that takes packets at one of the policy's devices.
    fn flowtables(&self) -> Vec<Note> {
        let carriers = self
            .carriers
            .iter()
            .filter_map(|index| Some(&self.around.devices.get(index)?.name));
        let devices: BTreeSet<&DeviceName> = self.named.iter().copied().chain(carriers).collect();
        let flowtables = self.around.flowtables.iter().flatten();
        flowtables
            .filter_map(|flowtable| {
                let at: Vec<&str> = devices
                    .iter()
                    .filter(|device| flowtable.takes_at(device))
                    .map(|device| device.as_str())
                    .collect();
                if at.is_empty() {
                    return None;
                }
                Some(Note::at(
                    &self.policy.host().origin,
                    format!(
                        "flowtable `{}` of table `{}` offloads connections at {}: they go past the packet filter, so that they fall \
                         into `control` as they leave over a circuit, are not shaped down, and meet no block",
                        flowtable.name,
                        flowtable.table,
                        at.join(", ")
                    ),
                    "take these devices out of it, or the rules that add connections to it (`flow add`)",
                ))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::surroundings::{Flowtable, Through};
    use crate::policy::{Source, read};

    const HOST: &str = r#"
name = "hub"
timezone = "Europe/Paris"
inside = ["lan0"]
[circuit.mpls]
device = "eth0.7"
[circuit.internet]
device = "eth0.8"
also = ["wg0"]
[circuit.backup]
device = "ppp0"
capacity = "10mbit"
[pool.access]
circuits = ["mpls", "internet"]
device = "eth0"
capacity = "300mbit"
[policy]
start = "nominal"
[phase.nominal]
split.access = { mpls = "200mbit", internet = "90mbit" }
"#;

    fn policy() -> Policy {
        let source = Source {
            name: "host.toml".into(),
            text: HOST.into(),
        };
        read(&[source]).unwrap_or_else(|faults| panic!("{faults}"))
    }

    /// The policy's devices, a VRF, a bridge, and the wire on which `ppp0` stands.
    fn around() -> Surroundings {
        let devices = [
            ("lo", "", None),
            ("eth0", "", None),
            ("eth0.7", "vlan", Some(2)),
            ("eth0.8", "vlan", Some(2)),
            ("lan0", "", None),
            ("wg0", "wireguard", None),
            ("dsl0", "", None),
            ("ppp0", "ppp", Some(7)),
            ("vrf1", "vrf", None),
            ("br0", "bridge", None),
            ("wanshift-down", "ifb", None),
        ];
        let mut around = Surroundings::default();
        for (index, (name, kind, lower)) in (1..).zip(devices) {
            around.devices.insert(
                index,
                Neighbour {
                    name: name.parse().unwrap(),
                    kind: kind.to_owned(),
                    lower,
                },
            );
        }
        around
    }

    fn told(around: &Surroundings) -> Vec<String> {
        notes(&policy(), around)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn what_is_routed_within_the_policy_is_not_told() {
        let mut around = around();
        assert!(told(&around).is_empty());
        for index in [1, 3, 4, 5, 6, 8, 9, 11] {
            around.add_route(index, "10.0.0.0/8".parse().unwrap(), Through::Gateway);
            around.add_route(index, "fd00::/64".parse().unwrap(), Through::Link);
        }
        // The links that carry circuits have addresses of their own.
        around.add_route(2, "192.168.0.0/24".parse().unwrap(), Through::Link);
        around.add_route(7, "192.168.1.0/24".parse().unwrap(), Through::Link);
        assert!(told(&around).is_empty(), "{:?}", told(&around));
    }

    #[test]
    fn what_is_routed_around_it_is_told_once_for_each_device() {
        let mut around = around();
        for third in 0..5 {
            let prefix = format!("10.9.{third}.0/24").parse().unwrap();
            around.add_route(10, prefix, Through::Link);
        }
        around.add_route(10, "0.0.0.0/0".parse().unwrap(), Through::Gateway);
        around.add_route(2, "10.1.0.0/16".parse().unwrap(), Through::Gateway);
        around.add_route(7, "10.2.0.0/16".parse().unwrap(), Through::Gateway);
        around.add_route(99, "10.3.0.0/16".parse().unwrap(), Through::Link);
        let told = told(&around);
        assert_eq!(told.len(), 4, "{told:#?}");
        assert!(told[0].contains("10.1.0.0/16 is routed to device `eth0`"));
        assert!(told[0].contains("of its own"), "{}", told[0]);
        assert!(told[1].contains("`dsl0`") && told[1].contains("`inside`"));
        assert!(
            told[2]
                .contains("0.0.0.0/0, 10.9.0.0/24, 10.9.1.0/24 and more is routed to device `br0`"),
            "{}",
            told[2]
        );
        assert!(told[2].starts_with("host.toml:2:8: "), "{}", told[2]);
        assert!(told[3].contains("device number 99"));
    }

    #[test]
    fn flow_tables_are_told_where_they_take_what_is_ours() {
        let mut around = around();
        let flowtable = |devices: &[&str]| Flowtable {
            table: "inet fw".to_owned(),
            name: "fast".to_owned(),
            devices: devices.iter().map(|name| (*name).to_owned()).collect(),
        };
        around.flowtables = Some(vec![flowtable(&["br0"]), flowtable(&[])]);
        assert!(told(&around).is_empty());
        around.flowtables = Some(vec![flowtable(&["eth0*", "lan0", "br0"])]);
        let told = told(&around);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("`fast` of table `inet fw`")
                && told[0].contains("at eth0, eth0.7, eth0.8, lan0:"),
            "{}",
            told[0]
        );
    }

    #[test]
    fn speeds_of_devices_that_are_not_there_are_told() {
        let told = |device: &str| {
            let text = format!(
                "{HOST}[condition.fast]\nany = [{{ link_speed = {{ device = \"{device}\", at_least = \"1gbit\", for = \"5m\" }} }}]\n"
            );
            let source = Source {
                name: "host.toml".into(),
                text: text.as_str().into(),
            };
            let policy = read(&[source]).unwrap_or_else(|faults| panic!("{faults}"));
            let notes = notes(&policy, &around());
            notes.iter().map(ToString::to_string).collect::<String>()
        };
        assert_eq!(told("eth0"), "");
        let gone = told("eth9");
        assert!(
            gone.contains("`fast` waits for the speed of device `eth9`, which is not here")
                && gone.contains("did you mean `eth0`?"),
            "{gone}"
        );
    }

    #[test]
    fn a_policy_is_of_the_host_that_has_its_circuits() {
        let mut around = around();
        assert!(is_of(&policy(), &around));
        around.devices.remove(&8);
        assert!(!is_of(&policy(), &around));
    }
}
