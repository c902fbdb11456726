//! The kernel: what it holds is read, what should change is written. Nothing is decided here.

pub mod fake;
pub mod ifb;
pub mod link;
pub mod nft;
pub mod routes;
mod speed;
pub mod tc;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use thiserror::Error;

use crate::model::names::{BlockName, DeviceName};
use crate::model::state::{ClassId, KernelState, LeafKind, Major, Observed};
use crate::model::surroundings::{Neighbour, Surroundings};
use crate::plan::op::Op;
use crate::units::Rate;
use routes::Found;
use tc::socket::RouteSocket;
use tc::stats::{Counters, QueueCounters};

/// What wanshift asks of a kernel.
///
/// Synchronous: the writes of a stage take milliseconds. One implementation is the machine's
/// ([`Host`]), one is in memory ([`fake::FakeKernel`]) and is held to the same questions by a test.
pub trait Kernel {
    /// Reads what is ours, as far as `scope` reaches, and the devices of this network namespace.
    ///
    /// # Errors
    /// Where a read fails, or twice in a row contradicts itself.
    fn observe(&mut self, scope: Scope) -> Result<Observed, KernelError>;

    /// Writes `ops` in order, one after another, and says of each what became of it.
    ///
    /// A failed op does not keep the later ones from being tried: whoever calls decides what may
    /// stand together. The result has as many entries as `ops`.
    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>>;

    /// Which kinds of leaf this kernel can make. Changes nothing.
    ///
    /// # Errors
    /// Where the kernel cannot be asked.
    fn leaves(&mut self) -> Result<BTreeSet<LeafKind>, KernelError>;

    /// Reads what stands around what is ours. Nothing, of a kernel that is asked for other things.
    ///
    /// # Errors
    /// Where a read fails that needs no privilege.
    fn surroundings(&mut self) -> Result<Surroundings, KernelError> {
        Ok(Surroundings::default())
    }

    /// The device by which packets leave from one address of this host to another host's; `None` where they
    /// go nowhere.
    ///
    /// # Errors
    /// Where the kernel cannot be asked.
    fn way(&mut self, from: IpAddr, to: IpAddr) -> Result<Option<DeviceName>, KernelError> {
        let _ = (from, to);
        Ok(None)
    }

    /// Where a packet to `to` goes: one of this host's own, or one that arrived from an address by a device. Nowhere, of
    /// a kernel that is asked for other things.
    ///
    /// # Errors
    /// Where the kernel cannot be asked.
    fn route(
        &mut self,
        arrived: Option<(&DeviceName, IpAddr)>,
        to: IpAddr,
    ) -> Result<Route, KernelError> {
        let _ = (arrived, to);
        Ok(Route::Nowhere)
    }

    /// How fast a device is; `None` where that is not known.
    ///
    /// # Errors
    /// Where the kernel cannot be asked.
    fn speed(&mut self, device: &DeviceName) -> Result<Option<Rate>, KernelError> {
        let _ = device;
        Ok(None)
    }

    /// Reads the counters of the classes of a device's tree into `into`, which is cleared first.
    /// Where there is no such device there are no counters, nor in a kernel that is asked for other things.
    ///
    /// A class that is not among them is not at zero: it is unknown.
    ///
    /// # Errors
    /// Where the read fails.
    fn counters(
        &mut self,
        device: &DeviceName,
        major: Major,
        into: &mut Vec<(ClassId, Counters)>,
    ) -> Result<(), KernelError> {
        let _ = (device, major);
        into.clear();
        Ok(())
    }

    /// Reads what the queues at the classes of these trees counted into `into`, which is cleared first. A
    /// tree is its device and the major of its handle, which no two devices share. Where there is no such device
    /// there are no counters, nor in a kernel that is asked for other things.
    ///
    /// A queue that is not among them is not at zero: it is unknown.
    ///
    /// # Errors
    /// Where the read fails.
    fn queues(
        &mut self,
        trees: &[(DeviceName, Major)],
        into: &mut Vec<(ClassId, QueueCounters)>,
    ) -> Result<(), KernelError> {
        let _ = trees;
        into.clear();
        Ok(())
    }

    /// How many packets each block has rejected since its counter was made. A block that is not there rejected
    /// none; nothing, of a kernel that is asked for other things.
    ///
    /// # Errors
    /// Where the read fails.
    fn rejected(&mut self) -> Result<BTreeMap<BlockName, u64>, KernelError> {
        Ok(BTreeMap::new())
    }
}

/// Where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// It is for this host.
    Here,
    /// It leaves by a device.
    Out(DeviceName),
    /// It goes nowhere.
    Nowhere,
}

/// How much of what is ours is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    All,
    /// Traffic control alone; the packet filter's table is told as none.
    Shaping,
}

/// A read that failed.
#[derive(Debug, Error)]
pub enum KernelError {
    /// No socket to the kernel.
    #[error("cannot open a netlink socket")]
    Socket(#[source] std::io::Error),
    /// A dump failed.
    #[error("cannot read {what} from the kernel")]
    Read {
        /// What was to be read.
        what: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// An answer that is none.
    #[error("the kernel's answer about {what} cannot be understood: {why}")]
    Decode {
        /// What was to be read.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// `nft` failed.
    #[error("cannot read the packet filter: `nft` {why}")]
    Nft {
        /// What it said.
        why: String,
    },
}

/// An op that did not happen, or of which it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpError {
    /// The kernel said no.
    #[error("{why} (errno {errno}){}", message.as_deref().map(|m| format!(": {m}")).unwrap_or_default())]
    Refused {
        /// Its number, positive.
        errno: i32,
        /// What the number means.
        why: String,
        /// What the kernel said beside it (extack).
        message: Option<String>,
    },
    /// Sent, and no answer came: it may have happened.
    #[error("no answer from the kernel: {why}")]
    Unknown {
        /// What was missing.
        why: String,
    },
    /// The device is not there.
    #[error("device {device} is not there")]
    NoDevice {
        /// The device.
        device: DeviceName,
    },
    /// `nft` refused the transaction.
    #[error("nft refused the rules: {why}")]
    Nft {
        /// What it said.
        why: String,
    },
}

/// The kernel of this machine, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Host {
    socket: RouteSocket,
}

impl Host {
    /// Opens a socket to it.
    ///
    /// # Errors
    /// Where there is none to be had.
    pub fn open() -> Result<Self, KernelError> {
        let socket = RouteSocket::open().map_err(KernelError::Socket)?;
        Ok(Self { socket })
    }

    /// The number by which the kernel tells listeners who changed traffic control: see [`watch::Watch::mute`].
    #[must_use]
    pub const fn port(&self) -> u32 {
        self.socket.port()
    }
}

impl Kernel for Host {
    fn observe(&mut self, scope: Scope) -> Result<Observed, KernelError> {
        let seen = tc::observe::observe(&mut self.socket)?;
        Ok(Observed {
            state: KernelState {
                trees: seen.trees,
                ifb: seen.ifb,
                feeds: seen.feeds,
                table: match scope {
                    Scope::All => nft::read()?,
                    Scope::Shaping => None,
                },
            },
            devices: seen.devices,
            strangers: seen.strangers,
        })
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        let mut results = Vec::with_capacity(ops.len());
        let socket = &mut self.socket;
        // Runs of ops on trees are packed; the others have their place between them, one by one: devices are
        // looked up where a run begins, and must be there by then.
        for run in ops.chunk_by(|left, right| is_packed(left) && is_packed(right)) {
            results.push(match run {
                [Op::SetTable { from, to }] => nft::apply(from.as_ref(), to.as_ref()),
                [Op::AddIfb { device }] => ifb::add(socket, device),
                [Op::RaiseIfb { device }] => ifb::raise(socket, device),
                [Op::DeleteIfb { device }] => ifb::delete(socket, device),
                [Op::SetFeed { device, from, to }] => tc::feed::set(socket, device, *from, *to),
                _ => {
                    results.extend(tc::apply::apply(socket, run));
                    continue;
                }
            });
        }
        results
    }

    /// The answer is the same for every device.
    fn leaves(&mut self) -> Result<BTreeSet<LeafKind>, KernelError> {
        tc::probe::leaves(&mut self.socket).map_err(|cause| KernelError::Read {
            what: "the kinds of leaf",
            cause,
        })
    }

    /// Where `nft` may not be asked, or is not there, no flow tables are told.
    fn surroundings(&mut self) -> Result<Surroundings, KernelError> {
        let failed = |what| move |cause| KernelError::Read { what, cause };
        let mut around = Surroundings::default();
        let links = link::links(&mut self.socket).map_err(failed("the network devices"))?;
        around.devices.extend(links.into_iter().map(|link| {
            let device = Neighbour {
                name: link.name,
                kind: link.kind,
                lower: link.lower,
            };
            (link.index, device)
        }));
        routes::read(&mut self.socket, &mut around).map_err(failed("the routes"))?;
        around.flowtables = nft::flowtables()
            .inspect_err(|error| tracing::debug!(%error, "no flow tables are told"))
            .ok();
        Ok(around)
    }

    fn way(&mut self, from: IpAddr, to: IpAddr) -> Result<Option<DeviceName>, KernelError> {
        let failed = |what| move |cause| KernelError::Read { what, cause };
        let index = routes::find(&mut self.socket, from, to).map_err(failed("a route"))?;
        let links = link::links(&mut self.socket).map_err(failed("the network devices"))?;
        Ok(links
            .into_iter()
            .find(|link| Some(link.index) == index)
            .map(|link| link.name))
    }

    fn route(
        &mut self,
        arrived: Option<(&DeviceName, IpAddr)>,
        to: IpAddr,
    ) -> Result<Route, KernelError> {
        let failed = |what| move |cause| KernelError::Read { what, cause };
        let links = link::links(&mut self.socket).map_err(failed("the network devices"))?;
        let arrived = match arrived {
            Some((device, from)) => match links.iter().find(|link| link.name == *device) {
                Some(link) => Some((link.index, from)),
                None => return Ok(Route::Nowhere),
            },
            None => None,
        };
        let found = routes::forward(&mut self.socket, arrived, to).map_err(failed("a route"))?;
        Ok(match found {
            Found::Here => Route::Here,
            Found::Nowhere => Route::Nowhere,
            Found::Out(index) => {
                let out = links.into_iter().find(|link| link.index == index);
                out.map_or(Route::Nowhere, |link| Route::Out(link.name))
            }
        })
    }

    fn speed(&mut self, device: &DeviceName) -> Result<Option<Rate>, KernelError> {
        speed::speed(device).map_err(|cause| KernelError::Read {
            what: "the speed of a device",
            cause,
        })
    }

    fn counters(
        &mut self,
        device: &DeviceName,
        major: Major,
        into: &mut Vec<(ClassId, Counters)>,
    ) -> Result<(), KernelError> {
        let failed = |cause| KernelError::Read {
            what: "the counters of the traffic classes",
            cause,
        };
        into.clear();
        match link::index_of(&mut self.socket, device).map_err(failed)? {
            Some(index) => tc::stats::read(&mut self.socket, index, major, into).map_err(failed),
            None => Ok(()),
        }
    }

    fn queues(
        &mut self,
        trees: &[(DeviceName, Major)],
        into: &mut Vec<(ClassId, QueueCounters)>,
    ) -> Result<(), KernelError> {
        let failed = |cause| KernelError::Read {
            what: "the counters of the queues",
            cause,
        };
        let mut there = Vec::with_capacity(trees.len());
        for (device, major) in trees {
            let index = link::index_of(&mut self.socket, device).map_err(failed)?;
            there.extend(index.map(|index| (index, *major)));
        }
        tc::stats::read_queues(&mut self.socket, &there, into).map_err(failed)
    }

    fn rejected(&mut self) -> Result<BTreeMap<BlockName, u64>, KernelError> {
        nft::rejected()
    }
}

/// Whether an op is sent together with its neighbours.
const fn is_packed(op: &Op) -> bool {
    match op {
        Op::AddRoot { .. }
        | Op::DeleteRoot { .. }
        | Op::AddClass { .. }
        | Op::ChangeClass { .. }
        | Op::DeleteClass { .. }
        | Op::SetLeaf { .. }
        | Op::SetSelector { .. } => true,
        Op::AddIfb { .. }
        | Op::RaiseIfb { .. }
        | Op::DeleteIfb { .. }
        | Op::SetFeed { .. }
        | Op::SetTable { .. } => false,
    }
}
