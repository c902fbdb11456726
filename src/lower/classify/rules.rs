//! What a policy says about which packet belongs where.

use ipnet::IpNet;

use crate::model::circuit::{Circuit, MarkMask};
use crate::model::class::Match;
use crate::model::names::{CircuitName, ClassName, DeviceName, SiteName};
use crate::policy::Policy;

/// What a policy says about which packet belongs where, without what is promised to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Classifier {
    /// The circuits.
    pub circuits: Vec<CircuitRules>,
    /// Devices toward the inside, by which what came over a circuit may go on.
    pub inside: Vec<DeviceName>,
    /// Our bits of packets' and connections' marks.
    pub mask: MarkMask,
}

/// The rules of one circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitRules {
    /// Its name.
    pub name: CircuitName,
    /// The device behind which it lies.
    pub device: DeviceName,
    /// Further names under which its traffic comes and goes.
    pub also: Vec<DeviceName>,
    /// The device that the tree is on in which it is shaped as it leaves.
    pub tree: DeviceName,
    /// Its sites; their prefixes do not overlap.
    pub sites: Vec<SiteRules>,
    /// Its classes, in the order in which they match.
    pub classes: Vec<ClassRules>,
}

/// The rules of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRules {
    /// Its name.
    pub name: SiteName,
    /// Its addresses.
    pub prefixes: Vec<IpNet>,
    /// Its classes, in the order in which they match.
    pub classes: Vec<ClassRules>,
}

/// The rules of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassRules {
    /// Its name.
    pub name: ClassName,
    /// What belongs to it: any of these.
    pub matches: Vec<Match>,
}

impl CircuitRules {
    /// All devices that it is known by.
    pub fn names(&self) -> impl Iterator<Item = &DeviceName> {
        std::iter::once(&self.device).chain(&self.also)
    }
}

impl Classifier {
    /// The rules of `policy`.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        let circuit = |circuit: &Circuit| CircuitRules {
            name: circuit.name.clone(),
            device: circuit.device.clone(),
            also: circuit.also.clone(),
            tree: policy
                .tree_device(&circuit.name)
                .unwrap_or(&circuit.device)
                .clone(),
            sites: policy
                .sites()
                .values()
                .filter(|site| site.circuit == circuit.name)
                .map(|site| SiteRules {
                    name: site.name.clone(),
                    prefixes: site.prefixes.clone(),
                    classes: site
                        .classes
                        .iter()
                        .map(|class| ClassRules {
                            name: class.name.clone(),
                            matches: class.matches.clone(),
                        })
                        .collect(),
                })
                .collect(),
            classes: policy
                .classes()
                .iter()
                .filter(|class| class.circuit == circuit.name)
                .map(|class| ClassRules {
                    name: class.name.clone(),
                    matches: class.matches.clone(),
                })
                .collect(),
        };
        Self {
            circuits: policy.circuits().values().map(circuit).collect(),
            inside: policy.host().inside.clone(),
            mask: policy.host().mark_mask,
        }
    }
}
