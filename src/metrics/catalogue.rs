//! All metrics: their names, kinds and meanings. There is no other list.

/// How a metric's values move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Never back, as long as the daemon runs.
    Counter,
    /// Either way.
    Gauge,
}

impl Kind {
    /// As the text format names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What it tells.
    pub help: &'static str,
}

macro_rules! families {
    ($($constant:ident $kind:ident $name:literal $help:literal)*) => {
        $(pub(super) const $constant: Family = Family {
            name: concat!("wanshift_", $name),
            kind: Kind::$kind,
            help: $help,
        };)*
        /// All metrics.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    BUILD_INFO Gauge "build_info"
        "Always 1, with the version of the daemon that runs."
    START Gauge "start_timestamp_seconds"
        "When the daemon began, 0 where none runs."
    HEALTHY Gauge "healthy"
        "1 where all is as it should be, 0 where there are problems."
    PROBLEMS Gauge "problems"
        "How many things are not as they should be at this moment, by where they lie."
    FAILURES Counter "failures_total"
        "How often something failed since the daemon began, by what."
    REPAIRS Counter "repairs_total"
        "How often something that somebody else changed of ours was put right."
    LAST_REPAIR Gauge "last_repair_timestamp_seconds"
        "When something was last put right, 0 for never."
    POLICY_SUCCESS Gauge "policy_load_success"
        "1 where the policy files were good when they were last read, 0 where an earlier policy holds on."
    POLICY_LOADED Gauge "policy_last_load_timestamp_seconds"
        "Since when the last good policy is the one that holds, 0 where there is none."
    SAMPLE_INTERVAL Gauge "sample_interval_seconds"
        "How far apart counters are read, 0 where they are not."
    LAST_SAMPLE Gauge "last_sample_timestamp_seconds"
        "When counters were last read, 0 for never."
    CIRCUIT_PRESENT Gauge "circuit_device_present"
        "1 where the circuit's device is there."
    CIRCUIT_SHARE Gauge "circuit_share_bytes_per_second"
        "What the circuit is given at this moment."
    CIRCUIT_CAPACITY Gauge "circuit_capacity_bytes_per_second"
        "What the circuit could be given at the most."
    CIRCUIT_BYTES Counter "circuit_bytes_total"
        "Bytes that the circuit carried since the daemon began."
    CIRCUIT_HOT Counter "circuit_hot_seconds_total"
        "Length of the samples in which the circuit carried 95 % of its share or more."
    CIRCUIT_SATURATED Counter "circuit_saturated_seconds_total"
        "Length of the hot samples in which packets were dropped or more of them waited than before."
    CLASS_BYTES Counter "class_bytes_total"
        "Bytes that the class sent since the daemon began."
    CLASS_PACKETS Counter "class_packets_total"
        "Packets that the class sent since the daemon began."
    CLASS_DROPS Counter "class_drops_total"
        "Packets of the class that were dropped since the daemon began."
    CLASS_BACKLOG Gauge "class_backlog_bytes"
        "Bytes of the class that wait."
    CLASS_GUARANTEE Gauge "class_guarantee_bytes_per_second"
        "What the class has for certain at this moment."
    CLASS_CEILING Gauge "class_ceiling_bytes_per_second"
        "What the class never goes beyond."
    CLASS_LIMIT Gauge "class_series_limit"
        "How many series of classes are shown at the most: what the others leave of 2,000."
    CLASS_OMITTED Gauge "class_series_omitted"
        "How many series of classes are not shown, because they would be more than the limit."
    PHASE Gauge "phase"
        "1 for the phase that holds or is being entered, 0 for the others."
    PHASE_CHANGED Gauge "phase_changed_timestamp_seconds"
        "Since when the phase holds, 0 where none does."
    PHASE_SHIFTING Gauge "phase_shifting"
        "1 while shares move toward those of a phase."
    BLOCK_HOLDING Gauge "block_holding"
        "1 where the block rejects, be it only what is new."
    BLOCK_SINCE Gauge "block_since_timestamp_seconds"
        "Since when the block holds without a break, 0 where it does not."
    BLOCK_PLANNED Gauge "block_planned_until_timestamp_seconds"
        "By when the block is expected to be lifted, 0 where that is not known."
    BLOCK_REJECTED Counter "block_rejected_packets_total"
        "Packets that the block rejected."
    CONDITION Gauge "condition"
        "1 where the condition is true."
    CONFIRM_PENDING Gauge "confirm_pending"
        "1 while a change waits to be confirmed."
    CONFIRM_LEFT Gauge "confirm_remaining_seconds"
        "How long there still is to confirm the change that waits for it, 0 where none does."
    WAY_BACK_OVERDUE Gauge "way_back_overdue"
        "1 where a change should have been taken back and is not: its time is over, or taking it back failed."
    LAST_CHANGE Gauge "last_change_timestamp_seconds"
        "When the last change came to an end, 0 for never."
    LAST_CHANGE_SUCCESS Gauge "last_change_success"
        "1 where the last change holds, 0 where it was taken back or there was none."
}
