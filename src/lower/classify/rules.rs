//! What a policy says about which packet belongs where.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::model::circuit::{Circuit, MarkMask};
use crate::model::class::{Match, PortRange};
use crate::model::desired::Hold;
use crate::model::hold::Block;
use crate::model::names::{BlockName, CircuitName, ClassName, DeviceName, SiteName};
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
    /// The blocks that hold.
    pub blocks: Vec<BlockRules>,
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

/// The rules of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRules {
    /// Its name.
    pub name: BlockName,
    /// What is rejected.
    pub what: Match,
    /// The names of the circuit over which it leaves; whichever way where there is none.
    pub devices: Vec<DeviceName>,
    /// What is let through all the same.
    pub except: Vec<Match>,
    /// Whether connections that are open already may go on.
    pub drains: bool,
}

impl CircuitRules {
    /// All devices that it is known by.
    pub fn names(&self) -> impl Iterator<Item = &DeviceName> {
        std::iter::once(&self.device).chain(&self.also)
    }
}

impl Classifier {
    /// The rules of `policy`, without any block.
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
            blocks: Vec::new(),
        }
    }

    /// The same rules while `blocks` hold; those that `policy` does not have are left out.
    #[must_use]
    pub fn blocking(mut self, policy: &Policy, blocks: &BTreeMap<BlockName, Hold>) -> Self {
        let rules = |(block, hold): (&Block, Hold)| {
            let circuit = block.circuit.as_ref();
            let circuit = circuit.and_then(|circuit| policy.circuits().get(circuit));
            BlockRules {
                name: block.name.clone(),
                what: addressed(&block.from, &block.to, &block.service),
                devices: circuit.map_or_else(Vec::new, |circuit| {
                    let names = std::iter::once(&circuit.device).chain(&circuit.also);
                    names.cloned().collect()
                }),
                except: block
                    .except
                    .iter()
                    .map(|one| addressed(&one.from, &one.to, &[]))
                    .collect(),
                drains: hold == Hold::Draining,
            }
        };
        let held = blocks.iter();
        let held = held.filter_map(|(name, hold)| Some((policy.blocks().get(name)?, *hold)));
        self.blocks = held.map(rules).collect();
        self
    }
}

fn addressed(from: &[IpNet], to: &[IpNet], service: &[PortRange]) -> Match {
    Match {
        from: from.to_vec(),
        to: to.to_vec(),
        service: service.to_vec(),
        dscp: Vec::new(),
    }
}
