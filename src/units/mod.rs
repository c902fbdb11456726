//! Quantities as policy files, plans and metrics write them: rates, percents, durations.
//!
//! A rate travels in three stops: text → [`Rate`] (integer bit/s) here, the same `Rate` in the op
//! that a plan prints, bytes per second in the one codec that writes the netlink attribute.

mod amount;
mod direction;
pub mod lines;
mod rate;
mod time;

pub use amount::{Amount, AmountError, Percent, PercentError};
pub use direction::{Amounts, Direction, PerDirection, Rates};
pub use rate::{Rate, RateError, bits_text, short_text};
pub use time::{DurationError, Fraction, Moment, duration};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_tc_reads_and_says_what_it_misreads() {
        for (text, bits) in [
            ("40mbit", 40_000_000),
            ("2.5mbit", 2_500_000),
            ("1 gbit", 1_000_000_000),
            ("8bit", 8),
            ("1KBIT", 1_000),
            ("1kibit", 1_024),
            ("10tbit", 10_000_000_000_000),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap().bits(), bits, "{text}");
        }
        let error = "100mbps".parse::<Rate>().unwrap_err();
        assert!(matches!(
            error,
            RateError::ReadAsBytes {
                instead: "mbit",
                ..
            }
        ));
        assert!(error.to_string().contains("\"100mbit\""), "{error}");
        for text in [
            "",
            "mbit",
            "-1mbit",
            "1..5mbit",
            "1.mbit",
            "0mbit",
            "1bit",
            "40",
            "11tbit",
            "0.0001bit",
            "１mbit",
            "1mbit2",
            "99999999999999999999999999mbit",
            "1e3mbit",
            "nan",
            "inf",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text} was read");
        }
    }

    #[test]
    fn tables_show_four_digits_of_odd_rates() {
        for (bits, text) in [
            (40_000_000, "40mbit"),
            (2_200_000, "2.2mbit"),
            (187_581_424, "≈187.6mbit"),
            (999_999_992, "≈1000.0mbit"),
            (1_234_567_896, "≈1.235gbit"),
            (12_345_672, "≈12.35mbit"),
            (8, "8bit"),
        ] {
            assert_eq!(short_text(bits), text);
        }
    }

    proptest! {
        #[test]
        fn a_rate_survives_its_text(bytes in 1_u64..1_250_000_000_000) {
            let rate = Rate::from_bits(bytes * 8).unwrap();
            prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
            prop_assert_eq!(Rate::from_bytes_per_second(rate.bytes_per_second()), rate);
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<Rate>();
            let _ = text.parse::<Percent>();
            let _ = text.parse::<Amount>();
        }

        #[test]
        fn a_percent_survives_its_text(parts in 1_u32..=1_000_000) {
            let percent: Percent = format!("{}.{:04}%", parts / 10_000, parts % 10_000).parse().unwrap();
            prop_assert_eq!(percent.to_string().parse::<Percent>().unwrap(), percent);
        }

        #[test]
        fn sums_hold_all_along_a_ramp(
            from in prop::collection::vec(1_u64..1_000_000, 1..6),
            seed in any::<u64>(),
            at in 0_u64..=1_000,
        ) {
            let at = Fraction::of(std::time::Duration::from_millis(at), std::time::Duration::from_secs(1));
            let to: Vec<u64> = from.iter().map(|bytes| (bytes ^ seed) % 1_000_000 + 1).collect();
            let rate = |bytes: &u64| Rate::from_bits(bytes * 8).unwrap();
            let sum = |bytes: &[u64]| rate(&bytes.iter().sum());
            let children: u64 = from.iter().zip(&to).map(|(a, b)| rate(a).toward(rate(b), at).bits()).sum();
            prop_assert!(children <= sum(&from).toward(sum(&to), at).bits());
        }
    }
}
