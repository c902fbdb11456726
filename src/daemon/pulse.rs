//! The kernel, as the daemon works on it: each thing that is asked of it shows that the loop goes on.
//!
//! A change of 10,000 sites is many writes in a row, and nothing else happens meanwhile. They are sent in parts, so that
//! systemd hears of it in between; an `nft` that hangs is given up by itself.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use super::watchdog::Watchdog;
use crate::clock::{Clock, SystemClock};
use crate::kernel::tc::stats::{Counters, QueueCounters};
use crate::kernel::{Host, Kernel, KernelError, OpError, Route, Scope};
use crate::model::names::{BlockName, DeviceName};
use crate::model::state::{ClassId, LeafKind, Major, Observed};
use crate::model::surroundings::Surroundings;
use crate::plan::op::Op;
use crate::units::Rate;

/// So many writes are sent in one part.
const PART: usize = 1_024;

/// The kernel of the host, and who is told that it is worked on.
pub struct Pulsed {
    host: Host,
    watchdog: Rc<RefCell<Watchdog>>,
}

impl Pulsed {
    /// Tells `watchdog`.
    pub const fn new(host: Host, watchdog: Rc<RefCell<Watchdog>>) -> Self {
        Self { host, watchdog }
    }

    fn host(&mut self) -> &mut Host {
        self.watchdog.borrow_mut().feed(SystemClock.now());
        &mut self.host
    }
}

impl Kernel for Pulsed {
    fn observe(&mut self, scope: Scope) -> Result<Observed, KernelError> {
        self.host().observe(scope)
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        ops.chunks(PART)
            .flat_map(|part| self.host().apply(part))
            .collect()
    }

    fn leaves(&mut self) -> Result<BTreeSet<LeafKind>, KernelError> {
        self.host().leaves()
    }

    fn surroundings(&mut self) -> Result<Surroundings, KernelError> {
        self.host().surroundings()
    }

    fn way(&mut self, from: IpAddr, to: IpAddr) -> Result<Option<DeviceName>, KernelError> {
        self.host().way(from, to)
    }

    fn route(
        &mut self,
        arrived: Option<(&DeviceName, IpAddr)>,
        to: IpAddr,
    ) -> Result<Route, KernelError> {
        self.host().route(arrived, to)
    }

    fn speed(&mut self, device: &DeviceName) -> Result<Option<Rate>, KernelError> {
        self.host().speed(device)
    }

    fn counters(
        &mut self,
        device: &DeviceName,
        major: Major,
        into: &mut Vec<(ClassId, Counters)>,
    ) -> Result<(), KernelError> {
        self.host().counters(device, major, into)
    }

    fn queues(
        &mut self,
        trees: &[(DeviceName, Major)],
        into: &mut Vec<(ClassId, QueueCounters)>,
    ) -> Result<(), KernelError> {
        self.host().queues(trees, into)
    }

    fn rejected(&mut self) -> Result<BTreeMap<BlockName, u64>, KernelError> {
        self.host().rejected()
    }
}
