//! What arrives over a circuit is held to the same figures as what leaves.

use crate::hand::Hand;
use crate::host::Way;
use crate::lab::{quiet_machine, ready};
use crate::{ceilings, conservation, line, paced, sharing};

#[test]
fn a_class_is_held_to_ten_and_to_a_hundred_megabits() {
    ceilings::ten_and_a_hundred(Way::Down);
}

#[test]
fn a_class_is_held_to_a_gigabit() {
    ceilings::a_gigabit(Way::Down);
}

#[test]
fn what_comes_from_a_site_is_held_to_its_tail_over_both_families() {
    ceilings::tails(Way::Down);
}

#[test]
fn spare_capacity_goes_to_the_lower_priority_first() {
    sharing::by_priority(Way::Down);
}

#[test]
fn spare_capacity_of_one_priority_goes_by_weight() {
    sharing::by_weight(Way::Down);
}

#[test]
fn a_guarantee_is_kept_while_others_flood_the_circuit() {
    sharing::by_guarantee(Way::Down);
}

#[test]
fn overhead_and_cells_are_paid_for() {
    line::paid_for(Way::Down);
}

#[test]
fn a_paced_flow_loses_nothing_while_its_circuit_is_saturated_and_shifted() {
    paced::unnoticed(Way::Down, Hand::Verbs);
}

#[test]
fn a_paced_flow_loses_nothing_while_a_daemon_shifts() {
    paced::unnoticed(Way::Down, Hand::Daemon);
}

#[test]
fn a_shift_with_every_class_flooded_stays_within_the_pool() {
    if ready() {
        let _quiet = quiet_machine();
        conservation::until_flooded("2s", Way::Down, Hand::Verbs);
    }
}

#[test]
fn a_shift_at_once_with_every_class_flooded_stays_within_the_pool() {
    if ready() {
        let _quiet = quiet_machine();
        conservation::until_flooded("0s", Way::Down, Hand::Verbs);
    }
}

#[test]
fn a_daemons_shift_with_every_class_flooded_stays_within_the_pool() {
    if ready() {
        let _quiet = quiet_machine();
        conservation::until_flooded("2s", Way::Down, Hand::Daemon);
    }
}
