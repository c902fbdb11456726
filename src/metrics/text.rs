//! The text that Prometheus reads.

use std::fmt::Write;

use metrics::{Label, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::catalogue::{ALL, Family, Kind};
use super::values::{Number, Value};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The series of `values`, family by family in the order of names.
///
/// The recorder lives for one text: it forgets no series by itself, and would go on to show the circuits and
/// blocks of policies long gone. The totals that it is given were carried on before.
pub(super) fn write(values: &[Value]) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        for family in ALL {
            match family.kind {
                Kind::Counter => describe_counter!(family.name, family.help),
                Kind::Gauge => describe_gauge!(family.name, family.help),
            }
        }
        for value in values {
            let labels: Vec<Label> = value
                .labels
                .iter()
                .map(|(name, value)| Label::new(*name, value.clone()))
                .collect();
            match value.number {
                Number::Count(number) => counter!(value.family.name, labels).absolute(number),
                Number::Gauge(number) => gauge!(value.family.name, labels).set(number),
                Number::Seconds(_) => {}
            }
        }
    });
    let mut families: Vec<String> = sorted(&recorder.handle().render());
    families.extend(fractions(values));
    families.sort_by(|a, b| name(a).cmp(name(b)));
    families.concat()
}

/// The families of the recorder's text, the lines of each in order: it keeps them in none.
fn sorted(text: &str) -> Vec<String> {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks
        .map(|block| {
            // `# HELP` and `# TYPE` come before any name.
            let mut lines: Vec<&str> = block.lines().collect();
            lines.sort_unstable();
            lines.iter().flat_map(|line| [*line, "\n"]).collect()
        })
        .collect()
}

/// The counters of seconds: the recorder counts in whole numbers alone.
fn fractions(values: &[Value]) -> Vec<String> {
    let mut families = Vec::new();
    for family in ALL {
        let mut text = String::new();
        for value in values.iter().filter(|value| value.family == *family) {
            let Number::Seconds(number) = value.number else {
                continue;
            };
            if text.is_empty() {
                head(&mut text, *family);
            }
            let labels: Vec<String> = value
                .labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{value}\""))
                .collect();
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}{{{}}} {number}", family.name, labels.join(","));
        }
        if !text.is_empty() {
            families.push(text);
        }
    }
    families
}

/// Appends what stands before a family's series.
pub(super) fn head(text: &mut String, family: Family) {
    let (name, kind) = (family.name, family.kind.name());
    let _ = writeln!(text, "# HELP {name} {}", family.help);
    let _ = writeln!(text, "# TYPE {name} {kind}");
}

/// The name of the family whose text this is.
fn name(family: &str) -> &str {
    let rest = family.split(' ').nth(2);
    rest.unwrap_or_default()
}
