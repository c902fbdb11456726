//! Where the host's own replies in an ssh session fall, as they leave over a circuit.
//!
//! What the packet filter's chains say (`classify`), said of one connection. It may be of several places
//! where classes go by code points: which one a session's packets carry is its two ends' own affair.

use std::net::IpAddr;

use super::control;
use crate::model::class::{Match, Transport};
use crate::model::names::{CircuitName, ClassName};
use crate::model::node::{NodeKey, Place};
use crate::model::session::Session;
use crate::policy::Policy;

/// The places on `circuit` in which replies of `session` may fall, in the order in which they are asked; there
/// is one at least.
#[must_use]
pub fn places_of_replies(
    policy: &Policy,
    circuit: &CircuitName,
    session: &Session,
) -> Vec<NodeKey> {
    let ports = [session.server_port, session.client_port];
    let places = if control::is_own_tcp(ports) {
        vec![Place::Control]
    } else {
        traffic(policy, circuit, session)
    };
    let key = |place| NodeKey::new(circuit.clone(), place);
    places.into_iter().map(key).collect()
}

/// For what is not control.
fn traffic(policy: &Policy, circuit: &CircuitName, session: &Session) -> Vec<Place> {
    let site = policy.sites().values().find(|site| {
        site.circuit == *circuit
            && site
                .prefixes
                .iter()
                .any(|net| net.contains(&session.client))
    });
    let Some(site) = site else {
        let classes = policy.classes().iter();
        let classes = classes
            .filter(|class| class.circuit == *circuit)
            .map(|class| (&class.name, class.matches.as_slice()));
        return first(classes, session, Place::Class, Place::Rest);
    };
    let name = &site.name;
    if site.classes.is_empty() {
        return vec![Place::Site(name.clone())];
    }
    let classes = site.classes.iter();
    let classes = classes.map(|class| (&class.name, class.matches.as_slice()));
    let inner = |class| Place::SiteClass(name.clone(), class);
    first(classes, session, inner, Place::SiteRest(name.clone()))
}

/// The first class that fits for certain, or the rest, and before it those that may fit.
fn first<'a>(
    classes: impl Iterator<Item = (&'a ClassName, &'a [Match])>,
    session: &Session,
    place: impl Fn(ClassName) -> Place,
    rest: Place,
) -> Vec<Place> {
    let mut places = Vec::new();
    for (name, matches) in classes {
        let mut fits = matches.iter().filter(|one| fits(one, session)).peekable();
        if fits.peek().is_none() {
            continue;
        }
        places.push(place(name.clone()));
        if fits.any(|one| one.dscp.is_empty()) {
            return places;
        }
    }
    places.push(rest);
    places
}

/// Whether the session fits, whatever its code points: the client opened it, the server was asked.
fn fits(one: &Match, session: &Session) -> bool {
    let within = |nets: &[ipnet::IpNet], address: &IpAddr| {
        nets.is_empty() || nets.iter().any(|net| net.contains(address))
    };
    let asked = one.service.is_empty()
        || one.service.iter().any(|range| {
            range.transport == Transport::Tcp && range.ports.contains(&session.server_port)
        });
    within(&one.from, &session.client) && within(&one.to, &session.server) && asked
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::lower::classify;
    use crate::model::class::Dscp;
    use crate::model::filter::{
        Action, ChainName, ChainRole, Element, Field, Line, Memory, Range, Table,
    };
    use crate::model::ids::{Ids, Wanted};
    use crate::policy::{Source, read};

    const TEXT: &str = r#"
name = "hub"
timezone = "Europe/Paris"
[circuit.wan]
device = "wan0"
capacity = "100mbit"
[circuit.other]
device = "other0"
capacity = "100mbit"
[policy]
start = "nominal"
[phase.nominal]
[class.elsewhere]
circuit = "other"
match = [{ to = ["192.0.2.0/24"] }]
[class.marked]
circuit = "wan"
match = [{ dscp = ["af21"], from = ["198.51.100.0/24"] }, { service = ["udp/2222"] }]
[class.hand]
circuit = "wan"
match = [{ from = ["198.51.100.0/25"], to = ["192.0.2.1"], service = ["tcp/2200-2299"] }]
[class.mixed]
circuit = "wan"
match = [{ dscp = ["ef"] }, { from = ["203.0.113.0/24"] }]
[class.six]
circuit = "wan"
match = [{ from = ["2001:db8::/32"] }]
[site.plain]
circuit = "wan"
prefixes = ["10.1.0.0/16"]
capacity = "4mbit"
[site.inner]
circuit = "wan"
prefixes = ["10.2.0.0/16", "2001:db8:2::/48"]
capacity = "4mbit"
guarantee = "1mbit"
[site.inner.class.admin]
match = [{ from = ["10.2.9.0/24"] }]
[site.there]
circuit = "other"
prefixes = ["10.3.0.0/16"]
capacity = "4mbit"
"#;

    fn policy() -> Policy {
        let source = Source {
            name: "host.toml".into(),
            text: TEXT.into(),
        };
        read(&[source]).unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn places(session: &str) -> String {
        let policy = policy();
        let circuit = "wan".parse().unwrap();
        let places = places_of_replies(&policy, &circuit, &session.parse().unwrap());
        let places: Vec<String> = places.iter().map(ToString::to_string).collect();
        places.join(" ")
    }

    #[test]
    fn the_usual_port_is_control_wherever_the_client_is() {
        for client in ["198.51.100.7", "10.1.0.7", "10.2.0.7"] {
            assert_eq!(
                places(&format!("{client} 50122 192.0.2.1 22")),
                "wan.control"
            );
        }
        assert_eq!(places("2001:db8::7 50122 2001:db8::1 22"), "wan.control");
        // As the filter sees it: a client that comes from one of these ports, too.
        assert_eq!(places("203.0.113.7 179 192.0.2.1 2222"), "wan.control");
        assert_eq!(places("203.0.113.7 22 192.0.2.1 2222"), "wan.control");
    }

    #[test]
    fn a_site_goes_before_all_classes() {
        assert_eq!(places("10.1.2.3 50122 192.0.2.1 2222"), "wan.site.plain");
        assert_eq!(
            places("10.2.2.3 50122 192.0.2.1 2222"),
            "wan.site.inner.rest"
        );
        assert_eq!(
            places("10.2.9.3 50122 192.0.2.1 2222"),
            "wan.site.inner.class.admin"
        );
        assert_eq!(
            places("2001:db8:2::3 50122 2001:db8::1 2222"),
            "wan.site.inner.rest"
        );
        // A site behind another circuit is none here.
        assert_eq!(
            places("10.3.0.3 50122 192.0.2.1 2222"),
            "wan.class.mixed wan.rest"
        );
    }

    #[test]
    fn the_first_class_that_fits_for_certain_ends_what_may_be() {
        assert_eq!(
            places("198.51.100.7 50122 192.0.2.1 2222"),
            "wan.class.marked wan.class.hand"
        );
        // Beyond its addresses, its ports, and the server's address.
        for session in [
            "198.51.100.200 50122 192.0.2.1 2222",
            "198.51.100.7 50122 192.0.2.1 2300",
            "198.51.100.7 50122 192.0.2.2 2222",
        ] {
            assert_eq!(places(session), "wan.class.marked wan.class.mixed wan.rest");
        }
        assert_eq!(
            places("203.0.113.7 50122 192.0.2.1 2222"),
            "wan.class.mixed"
        );
        assert_eq!(
            places("192.0.2.77 50122 192.0.2.1 2222"),
            "wan.class.mixed wan.rest"
        );
        assert_eq!(
            places("2001:db8:9::3 50122 2001:db8::1 2222"),
            "wan.class.mixed wan.class.six"
        );
    }

    /// What a packet shows.
    type Packet = BTreeMap<Field, u128>;

    fn number(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => u32::from(address).into(),
            IpAddr::V6(address) => address.into(),
        }
    }

    /// A reply of `session` with a code point, in a connection that remembers another.
    fn reply(session: &Session, mine: u8, theirs: u8) -> Packet {
        let (client, server) = (number(session.client), number(session.server));
        let [source, from, to, dscp] = if session.client.is_ipv4() {
            [Field::Source4, Field::From4, Field::To4, Field::Dscp4]
        } else {
            [Field::Source6, Field::From6, Field::To6, Field::Dscp6]
        };
        let theirs = Memory::Dscp(Dscp::new(theirs).unwrap()).label();
        Packet::from([
            // Local, established, a reply, over TCP.
            (Field::SourceType, 2),
            (Field::State, 2),
            (Field::Direction, 1),
            (Field::Transport, 6),
            (Field::Label, theirs.into()),
            (source, server),
            (from, client),
            (to, server),
            (dscp, mine.into()),
            (Field::Service, session.server_port.into()),
            (Field::SourcePort, session.server_port.into()),
            (Field::DestinationPort, session.client_port.into()),
        ])
    }

    /// Where the chains of `table` lead a packet from `chain` on, within all limits.
    fn landing(table: &Table, chain: &ChainName, packet: &Packet, to: IpAddr) -> Option<NodeKey> {
        let within = |range: &Range, value: u128| range.first() <= value && value <= range.last();
        for line in &table.chains[chain].lines {
            let Line::Rule(rule) = line else {
                panic!("{line:?}");
            };
            let meets = rule.criteria().iter().all(|(field, values)| {
                let value = packet.get(field);
                value.is_some_and(|value| values.ranges().iter().any(|one| within(one, *value)))
            });
            if !meets {
                continue;
            }
            match rule.action() {
                Action::Goto(chain) => return landing(table, chain, packet, to),
                Action::Priority(_) => match ChainRole::of(chain) {
                    Some(ChainRole::Place(key, _)) => return Some(key),
                    other => panic!("{other:?}"),
                },
                Action::Lookup(_, map) => {
                    let found = table.maps[map].elements.iter().find(|(key, _)| match key {
                        Element::Addresses4(range) => to.is_ipv4() && within(range, number(to)),
                        Element::Addresses6(range) => to.is_ipv6() && within(range, number(to)),
                        Element::Device(_) | Element::Pair(..) => false,
                    });
                    if let Some((_, verdict)) = found {
                        return landing(table, verdict.target().unwrap(), packet, to);
                    }
                }
                Action::Jump(_)
                | Action::Mark { .. }
                | Action::Unmark(_)
                | Action::Remember(_)
                | Action::Reject { .. }
                | Action::Return
                | Action::Continue => panic!("{rule:?}"),
            }
        }
        None
    }

    /// The places to which the packet filter's chains lead replies of `session`, whatever their code points.
    fn landings(session: &Session) -> BTreeSet<NodeKey> {
        let policy = policy();
        let mut ids = Ids::default();
        ids.assign(Wanted {
            keys: policy
                .phases()
                .values()
                .flat_map(|phase| policy.promises(phase).into_keys())
                .collect(),
            devices: policy
                .circuits()
                .values()
                .map(|circuit| circuit.device.clone())
                .collect(),
            pools: BTreeSet::new(),
            mask: policy.host().mark_mask,
        })
        .unwrap();
        let table = classify::table(&policy, &BTreeMap::new(), &ids).unwrap();
        let entry = ChainRole::Up("wan".parse().unwrap()).name();
        let points = [0, 18, 46];
        let pairs = points
            .iter()
            .flat_map(|mine| points.map(|theirs| (*mine, theirs)));
        pairs
            .filter_map(|(mine, theirs)| {
                landing(
                    &table,
                    &entry,
                    &reply(session, mine, theirs),
                    session.client,
                )
            })
            .collect()
    }

    fn any_session() -> impl Strategy<Value = Session> {
        let four = prop::sample::select(&[
            "198.51.100.7",
            "198.51.100.200",
            "203.0.113.7",
            "192.0.2.77",
            "10.1.0.7",
            "10.2.0.7",
            "10.2.9.7",
            "10.3.0.7",
        ]);
        let six = prop::sample::select(&["2001:db8:2::7", "2001:db8:7::7", "fd00::7"]);
        let ends = prop_oneof![
            (four, prop::sample::select(&["192.0.2.1", "192.0.2.2"])),
            (six, Just("2001:db8::1")),
        ];
        let port = || prop::sample::select(&[22_u16, 179, 443, 2_199, 2_200, 2_222, 2_299, 2_300]);
        (ends, port(), port()).prop_map(|((client, server), client_port, server_port)| Session {
            client: client.parse().unwrap(),
            client_port,
            zone: None,
            server: server.parse().unwrap(),
            server_port,
        })
    }

    proptest! {
        #[test]
        fn it_is_where_the_chains_lead(session in any_session()) {
            let circuit = "wan".parse().unwrap();
            let places = places_of_replies(&policy(), &circuit, &session);
            prop_assert_eq!(places.into_iter().collect::<BTreeSet<_>>(), landings(&session));
        }
    }
}
