//! iperf3, as a second opinion on the lab's own clients.

use super::Namespace;
use super::time::{SECOND, now, sleep};
use serde_json::Value;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

/// Runs iperf3 between two hosts and returns its JSON report. `options` are the client's, such as
/// `["-t", "3", "-P", "4", "-R"]`.
pub fn iperf(
    client: &Namespace,
    server: (&Namespace, IpAddr),
    port: u16,
    options: &[&str],
) -> Value {
    let (address, port) = (server.1.to_string(), port.to_string());
    let mut command = server.0.command("iperf3");
    command.args(["--server", "--one-off", "--bind", &address, "--port", &port]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let listening = server.0.spawn(command);
    let deadline = now() + 5 * SECOND;
    loop {
        let arguments = ["--client", &address, "--port", &port, "--json"];
        let output = client.try_run("iperf3", &[&arguments[..], options].concat());
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report of iperf3");
        // With --json a failure is in the report, and the exit code that of a success.
        if report["error"].is_null() {
            drop(listening);
            return report;
        }
        // The server may not listen yet.
        assert!(now() < deadline, "iperf3: {}", report["error"]);
        sleep(Duration::from_millis(20));
    }
}

/// Bit/s that the receiver of such a report had.
pub fn received(report: &Value) -> f64 {
    let rate = &report["end"]["sum_received"]["bits_per_second"];
    rate.as_f64()
        .unwrap_or_else(|| panic!("no rate in {report:#}"))
}
