//! The table that grows while a shift goes on.

use crate::lab::now;
use crate::lab::time::Nanos;
use crate::traffic::{Desktops, Wires};

/// What the program says of its progress, beside what is measured meanwhile.
pub struct Ramp<'a> {
    wires: &'a Wires,
    at_home: &'a Desktops,
    last: (Nanos, [u64; 4]),
    titled: bool,
}

impl<'a> Ramp<'a> {
    pub fn new(wires: &'a Wires, at_home: &'a Desktops) -> Self {
        let mut ramp = Self {
            wires,
            at_home,
            last: (0, [0; 4]),
            titled: false,
        };
        ramp.last = ramp.look();
        ramp
    }

    fn look(&self) -> (Nanos, [u64; 4]) {
        let [internet, mpls] = self.wires.seen();
        let desktops = self.at_home.received();
        (now(), [internet, mpls, internet + mpls, desktops])
    }

    /// What the program says of its progress, beside what is measured; none where it says something else.
    pub fn row(&mut self, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [
            percent,
            "%",
            "internet",
            internet,
            "mbit",
            "mpls",
            mpls,
            "mbit",
        ] = words[..]
        else {
            return None;
        };
        let next = self.look();
        let seconds = (next.0 - self.last.0) as f64 / 1e9;
        let rate = |of: usize| (next.1[of] - self.last.1[of]) as f64 * 8.0 / 1e6 / seconds;
        let row = format!(
            "{percent:>3} %{internet:>9}{:>12.1}{mpls:>8}{:>12.1}{:>11.1}{:>11.1}",
            rate(0),
            rate(1),
            rate(2),
            rate(3)
        );
        self.last = next;
        if std::mem::replace(&mut self.titled, true) {
            return Some(row);
        }
        Some(format!("{RAMP}\n{row}"))
    }
}

const RAMP: &str = "
         internet            mpls                both       desktops
         share    measured   share    measured   measured   get";
