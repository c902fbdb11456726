//! What `status` and `history` print.

use super::common::daemon::Daemon;
use super::with_daemon;

/// `text` with dates, process numbers and places replaced.
fn redacted(text: &str, daemon: &Daemon<'_>) -> String {
    let place = daemon.host().config().display().to_string();
    let text = text
        .replace(&place, "/etc/wanshift")
        .replace(&format!("process {}", daemon.pid()), "process PID");
    let is_date = |word: &str| {
        let shape: String = word
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        ["0000-00-00", "00:00:00Z", "00:00:00Z)"].contains(&shape.as_str())
    };
    text.split_inclusive(' ')
        .flat_map(|part| part.split_inclusive('\n'))
        .map(|part| {
            let word = part.trim_end();
            let rest = &part[word.len()..];
            if is_date(word) {
                let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
                format!("{}{rest}", word.chars().map(shape).collect::<String>())
            } else {
                part.to_owned()
            }
        })
        .collect()
}

#[test]
fn status_is_told_within_80_columns() {
    with_daemon("0s", |host, mut daemon| {
        host.wanshift(&["phase", "telework", "--confirm-within", "1h"]);
        daemon.wait_for("a sample", |status| {
            status["circuits"][0]["up"]["rate"].is_number()
                && status["pending"]["seconds_left"].as_u64() < Some(3_600)
        });
        let text = host.wanshift(&["status"]);
        // How much is left depends on when it is asked.
        let told: Vec<String> = text
            .lines()
            .map(|line| match line.split_once("undone in ") {
                Some((left, _)) => format!("{left}undone in ..."),
                None => line.to_owned(),
            })
            .collect();
        insta::assert_snapshot!("status", redacted(&told.join("\n"), &daemon));
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    });
}

#[test]
fn history_is_told_with_who_what_and_from_which_files() {
    with_daemon("0s", |host, daemon| {
        host.wanshift(&["phase", "telework"]);
        host.wanshift(&["phase", "nominal", "--confirm-within", "1h"]);
        host.wanshift(&["rollback"]);
        let text = redacted(&host.wanshift(&["history"]), &daemon);
        let hash = super::history(host)[0]["policy"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(hash.len() == 64 && text.contains(&hash[..12]), "{text}");
        insta::assert_snapshot!("history", text.replace(&hash[..12], "HASH"));
        let json = super::history(host);
        assert_eq!(json[0]["state"], "undone");
        assert_eq!(json[0]["because"], "rolled back by root");
        assert_eq!(json[1]["phase_before"], "nominal");
        assert_eq!(json[1]["phase_after"], "telework");
        assert_eq!(json[1]["files"].as_array().unwrap().len(), 3);
        assert!(json[1]["ended"].is_string());
    });
}
