//! The verbs, as an administrator uses them, on the machine's kernel.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::host::{EdgeHost, assert_same, dump};
use common::{in_namespace, sh};
use jiff::tz::TimeZone;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wanshift::clock::{Clock, SystemClock};
use wanshift::model::readings::WallClock;

fn json(text: &str) -> serde_json::Value {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(value["schema_version"], 1);
    value
}

#[test]
fn from_nothing_to_shaped_and_back_leaves_no_trace() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        sh(
            "nft add table ip theirs; nft add chain ip theirs forward '{ type filter hook forward priority 0; }'",
        );
        sh("ip rule add fwmark 7 table 100; tc qdisc add dev lan0 clsact");
        // Connection tracking announces itself in sysctls as soon as anybody asks for it.
        sh("nft add rule ip theirs forward ct state established accept");
        let before = dump();
        let plan = host.wanshift(&["plan"]);
        assert!(plan.contains("internet.class.gateway"), "{plan}");
        assert_same(&dump(), &before, "after plan");
        host.wanshift(&["apply"]);
        assert!(sh("nft list tables").contains("inet wanshift"));
        assert!(sh("tc qdisc show dev wan0").contains("htb 7a"));
        host.wanshift(&["phase", "telework"]);
        host.wanshift(&["teardown"]);
        assert_same(&dump(), &before, "after teardown");
        assert!(host.wanshift(&["teardown"]).contains("Nothing to do"));
    });
}

#[test]
fn nothing_to_do_means_nothing_written() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        assert_eq!(
            host.run(&["plan", "--detailed-exitcode"]).status.code(),
            Some(2)
        );
        host.wanshift(&["apply"]);
        assert_eq!(
            host.run(&["plan", "--detailed-exitcode"]).status.code(),
            Some(0)
        );
        let monitor = Command::new("tc")
            .args(["monitor", "file", "/dev/null"])
            .spawn();
        drop(monitor.map(|mut child| (child.kill(), child.wait())));
        let applied = json(&host.wanshift(&["--json", "apply"]));
        assert_eq!(applied["writes"], 0);
        let applied = json(&host.wanshift(&["--json", "phase", "telework"]));
        assert!(applied["writes"].as_u64().unwrap() > 5, "{applied}");
        assert_eq!(
            json(&host.wanshift(&["--json", "phase", "telework"]))["writes"],
            0
        );
        assert_eq!(json(&host.wanshift(&["--json", "plan"]))["ops"], 0);
    });
}

#[test]
fn a_plan_says_what_changes_and_why() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["apply"]);
        let plan = json(&host.wanshift(&["--json", "plan", "--phase", "telework"]));
        assert_eq!(plan["phase_now"], "nominal");
        assert_eq!(plan["phase_then"], "telework");
        let changes = plan["changes"].as_array().unwrap();
        let gateway = changes
            .iter()
            .find(|change| change["place"] == "internet.class.gateway")
            .unwrap();
        assert_eq!(gateway["was"]["guarantee"], "40mbit");
        assert_eq!(gateway["will"]["guarantee"], "160mbit");
        assert_eq!(gateway["why"]["phase"], "telework");
        assert_eq!(gateway["why"]["what"], "class.gateway");
        let file = gateway["why"]["origin"]["file"].as_str().unwrap();
        assert!(file.ends_with("20-telework.toml"), "{file}");
        // Sites keep what they have while their circuit shrinks.
        assert!(
            !changes
                .iter()
                .any(|change| change["place"] == "mpls.site.mds-provins")
        );
        let text = host.wanshift(&["plan", "--phase", "telework"]);
        assert!(text.contains("40mbit → 160mbit"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 120),
            "{text}"
        );
    });
}

#[test]
fn a_rollback_is_planned_as_it_is_then_done_and_nothing_is_written() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        let nothing = host.refused(&["plan", "--rollback"]);
        assert!(
            nothing.contains("no change is on record that could go back"),
            "{nothing}"
        );
        host.wanshift(&["apply"]);
        let all = host.refused(&["plan", "--rollback"]);
        assert!(all.contains("takes everything out"), "{all}");
        host.wanshift(&["phase", "telework"]);
        // The files say something else by now, which is no part of going back.
        host.edit("policy.d/10-classes.toml", "\"40mbit\"", "\"50mbit\"");
        host.wanshift(&["apply"]);
        host.edit("policy.d/10-classes.toml", "\"50mbit\"", "\"50mbps\"");
        let before = dump();
        let far = json(&host.wanshift(&["--json", "plan", "--rollback", "2"]));
        assert_eq!(
            (&far["phase_now"], &far["phase_then"]),
            (&"telework".into(), &"nominal".into())
        );
        let near = json(&host.wanshift(&["--json", "plan", "--rollback"]));
        assert_eq!(near["phase_then"], "telework");
        let too_far = host.refused(&["plan", "--rollback", "9"]);
        assert!(too_far.contains("not 9 changes"), "{too_far}");
        assert_same(&dump(), &before, "after plans");
        let done = json(&host.wanshift(&["--json", "rollback", "2"]));
        for key in ["changes", "ops", "rules", "phase_then"] {
            assert_eq!(far[key], done[key], "{key}");
        }
        assert!(far["ops"].as_u64() > Some(10), "{far:#}");
        for wrong in [
            &["plan", "--rollback", "0"][..],
            &["plan", "--rollback", "--phase", "nominal"],
        ] {
            assert_eq!(host.run(wrong).status.code(), Some(2), "{wrong:?}");
        }
    });
}

#[test]
fn a_root_qdisc_of_somebody_else_is_refused_unless_adopted() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        sh("tc qdisc add dev wan0 root handle 77: tbf rate 50mbit burst 32k latency 50ms");
        let before = dump();
        let errors = host.refused(&["apply"]);
        assert!(
            errors.contains("tbf 77:") && errors.contains("wan0") && errors.contains("adopt"),
            "{errors}"
        );
        assert_same(&dump(), &before, "after the refusal");
        host.edit(
            "host.toml",
            "device = \"wan0\"",
            "device = \"wan0\"\nadopt = true",
        );
        host.wanshift(&["apply"]);
        assert!(!sh("tc qdisc show dev wan0").contains("tbf"));
        host.wanshift(&["teardown"]);
        assert!(sh("tc qdisc show dev wan0").contains("noqueue"));
    });
}

#[test]
fn files_that_others_may_write_are_read_but_not_applied() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        let file = host.config().join("policy.d/10-classes.toml");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
        let errors = host.refused(&["apply"]);
        assert!(errors.contains("10-classes.toml"), "{errors}");
        host.wanshift(&["check"]);
    });
}

#[test]
fn a_policy_that_does_not_load_changes_nothing() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["apply"]);
        let before = dump();
        host.edit(
            "policy.d/10-classes.toml",
            "guarantee = \"40mbit\"",
            "guarantee = \"400mbps\"",
        );
        host.edit(
            "policy.d/20-telework.toml",
            "mpls = \"80mbit\"",
            "mpls = \"180mbit\"",
        );
        let errors = host.refused(&["apply"]);
        assert!(
            errors.contains("10-classes.toml:14") && errors.contains("20-telework.toml:9"),
            "{errors}"
        );
        assert_same(&dump(), &before, "after a policy that does not load");
    });
}

#[test]
fn numbers_survive_reordering_and_the_loss_of_the_store() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["apply"]);
        let classes = || sh("tc class show dev wan0; tc class show dev mpls0");
        let before = classes();

        // The file with the sites first, and the classes in a new file that is read first.
        let text = std::fs::read_to_string(host.config().join("policy.d/10-classes.toml")).unwrap();
        let split = text.find("[class.video]").unwrap();
        std::fs::write(host.config().join("policy.d/05-early.toml"), &text[split..]).unwrap();
        std::fs::write(
            host.config().join("policy.d/10-classes.toml"),
            &text[..split],
        )
        .unwrap();
        sh(&format!(
            "chmod go-w {}/policy.d/*",
            host.config().display()
        ));
        let applied = json(&host.wanshift(&["--json", "apply"]));
        // The rules are asked in another order; no class changes.
        let changes = applied["changes"].as_array().unwrap();
        assert!(
            changes.iter().all(|change| change["will"].is_null()),
            "{applied}"
        );
        assert_eq!(classes(), before);

        // Without the store, which phase holds is not for a program to guess.
        sh(&format!("rm -rf {}", host.state().display()));
        let errors = host.refused(&["apply"]);
        assert!(
            errors.contains("wanshift phase NAME") && errors.contains("telework"),
            "{errors}"
        );
        assert_eq!(classes(), before);
        assert_eq!(
            json(&host.wanshift(&["--json", "phase", "nominal"]))["writes"],
            0
        );
        assert_eq!(classes(), before);
        assert_eq!(json(&host.wanshift(&["--json", "apply"]))["writes"], 0);
    });
}

#[test]
fn a_class_that_comes_and_one_that_goes_leave_the_others_alone() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["apply"]);
        let class = |name: &str| {
            let plan = host.wanshift(&["--json", "plan"]);
            assert_eq!(json(&plan)["ops"], 0, "{name}: {plan}");
            sh("tc class show dev wan0 | wc -l")
                .trim()
                .parse::<usize>()
                .unwrap()
        };
        let count = class("before");
        host.edit("policy.d/10-classes.toml", "[class.video]", "[class.backup]\ncircuit = \"internet\"\nmatch = [{ service = [\"tcp/873\"] }]\n\n[class.video]");
        let applied = json(&host.wanshift(&["--json", "apply"]));
        let changes = applied["changes"].as_array().unwrap();
        let ways: Vec<&str> = changes
            .iter()
            .map(|change| {
                assert_eq!(change["place"], "internet.class.backup", "{applied}");
                change["direction"].as_str().unwrap()
            })
            .collect();
        assert_eq!(ways, ["up", "down"], "{applied}");
        assert_eq!(class("with one more"), count + 1);
        assert!(sh("nft list table inet wanshift").contains("internet.class.backup"));
        host.edit(
            "policy.d/10-classes.toml",
            "[class.backup]\ncircuit = \"internet\"\nmatch = [{ service = [\"tcp/873\"] }]\n",
            "",
        );
        host.wanshift(&["apply"]);
        assert_eq!(class("with one less"), count);
        assert!(!sh("nft list table inet wanshift").contains("backup"));
    });
}

#[test]
fn what_somebody_changed_behind_our_back_is_seen_and_mended() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["apply"]);
        let before = dump();
        let id = sh("tc class show dev wan0 | grep 'rate 40Mbit' | cut -d' ' -f3");
        let tampering = [
            format!(
                "tc class change dev wan0 classid {} htb rate 1mbit ceil 2mbit",
                id.trim()
            ),
            "nft add rule inet wanshift internet.traffic counter drop".to_owned(),
            "nft delete table inet wanshift".to_owned(),
            "nft flush chain inet wanshift internet.class.gateway".to_owned(),
            "nft flush ruleset".to_owned(),
            "tc qdisc del dev wan0 root".to_owned(),
        ];
        for line in tampering {
            sh(&line);
            assert_eq!(
                host.run(&["plan", "--detailed-exitcode"]).status.code(),
                Some(2),
                "{line}"
            );
            host.wanshift(&["apply"]);
            assert_same(&dump(), &before, &line);
        }
    });
}

#[test]
fn somebody_elses_class_in_our_tree_is_refused_by_name_and_torn_down_with_it() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["apply"]);
        let clean = dump();
        let root = sh("tc qdisc show dev wan0 | grep -o 'htb 7a..:' | head -n 1");
        let root = root.trim().trim_start_matches("htb ").to_owned();
        let leaf = sh("tc class show dev wan0 | grep leaf | head -n 1 | cut -d' ' -f3");
        let leaf = leaf.trim();
        // Beside the circuit, and below a leaf, which it makes an inner class.
        let strangers = [
            (
                root.clone(),
                format!("{root}fff0"),
                "at the root".to_owned(),
            ),
            (
                leaf.to_owned(),
                format!("{root}fff1"),
                format!("below {leaf}"),
            ),
        ];
        for (parent, class, place) in &strangers {
            sh(&format!(
                "tc class add dev wan0 parent {parent} classid {class} htb rate 900mbit quantum 60000"
            ));
            let before = dump();
            let told = format!(
                "device wan0: class {class} {place} is not ours; \
                 remove it (tc class del dev wan0 classid {class})"
            );
            for verb in [&["plan"][..], &["apply"], &["phase", "telework"]] {
                let errors = host.refused(verb);
                assert!(errors.contains(&told), "{verb:?}: {errors}");
            }
            assert_same(&dump(), &before, "after the refusals");
            sh(&format!("tc class del dev wan0 classid {class}"));
            host.wanshift(&["apply"]);
            assert_same(&dump(), &clean, "after it was removed");
        }
        for (parent, class, _) in &strangers {
            sh(&format!(
                "tc class add dev wan0 parent {parent} classid {class} htb rate 900mbit quantum 60000"
            ));
        }
        host.wanshift(&["teardown"]);
        assert!(sh("tc qdisc show dev wan0").contains("noqueue"));
    });
}

#[test]
fn a_phase_that_cannot_be_entered_or_does_not_exist_is_refused() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["apply"]);
        let errors = host.refused(&["phase", "upgraded"]);
        assert!(errors.contains("uplink-upgraded"), "{errors}");
        let errors = host.refused(&["phase", "holidays"]);
        assert!(errors.contains("telework"), "{errors}");
        assert_eq!(host.run(&["phase", "Not A Name"]).status.code(), Some(2));
    });
}

#[test]
fn what_is_not_held_yet_is_said_or_refused_by_name() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["apply"]);
        let output = host.run(&["phase", "telework"]);
        let talk = common::said(&output.stderr);
        assert!(!talk.contains("browsing-in-session"), "{talk}");
        host.edit("policy.d/20-telework.toml", "\"cut\"", "\"drain\"");
        let output = host.run(&["plan"]);
        let talk = common::said(&output.stderr);
        assert!(
            talk.contains("browsing-in-session") && talk.contains("drain_for"),
            "{talk}"
        );
        assert!(
            host.wanshift(&["plan"])
                .contains("block browsing-in-session")
        );
        // A window that is half a day away, in the zone of the policy.
        let (hour, word) = match SystemClock.wall() {
            WallClock::Trusted(date) => {
                let zone = TimeZone::get("Europe/Paris").unwrap();
                (date.to_zoned(zone).hour(), "rests by its schedule")
            }
            WallClock::Untrusted(_) => (0, "is not synchronised"),
        };
        let schedule = format!("{:02}:00-{:02}:00", (hour + 11) % 24, (hour + 13) % 24);
        host.edit(
            "policy.d/20-telework.toml",
            "[block.browsing-in-session]",
            &format!("[block.browsing-in-session]\nschedule = \"{schedule}\""),
        );
        let output = host.run(&["plan"]);
        let talk = common::said(&output.stderr);
        assert!(
            talk.contains("browsing-in-session") && talk.contains(word) && talk.contains(&schedule),
            "{talk}"
        );
        let told = host.wanshift(&["plan"]);
        let lifts = told.contains(&format!("schedule {schedule}"));
        assert_eq!(lifts, word.starts_with("rests"), "{told}");
        host.edit(
            "policy.d/20-telework.toml",
            "split.access = { mpls = \"80mbit\"",
            "follow.access = \"demand\"\nfloor.access = { mpls = \"40mbit\", internet = \"100mbit\" }\nweight.access = { mpls = 2 }\nsplit.access = { mpls = \"80mbit\"",
        );
        let errors = host.refused(&["apply"]);
        assert!(
            errors.contains("telework") && errors.contains("weight"),
            "{errors}"
        );
    });
}

#[test]
fn a_device_that_is_missing_is_named_and_nothing_is_written() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        sh("ip link del mpls0");
        let before = dump();
        let errors = host.refused(&["apply"]);
        assert!(errors.contains("mpls0"), "{errors}");
        assert_same(&dump(), &before, "after the refusal");
    });
}

#[test]
fn one_that_is_at_work_keeps_the_other_out_and_ctrl_c_takes_a_ramp_back() {
    in_namespace(|| {
        let host = EdgeHost::new("20s");
        host.wanshift(&["apply"]);
        let before = dump();
        let mut ramp = Command::new(env!("CARGO_BIN_EXE_wanshift"));
        let child = ramp
            .args(host.arguments())
            .args(["phase", "telework"])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(800));
        let errors = host.refused(&["apply"]);
        assert!(errors.contains("phase telework"), "{errors}");
        assert!(
            !sh("tc class show dev wan0").contains("rate 40Mbit"),
            "the ramp did not begin"
        );
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_same(&dump(), &before, "after Ctrl-C");
        assert!(host.wanshift(&["plan"]).contains("Phase nominal"));
    });
}

#[test]
fn a_second_change_of_mind_goes_from_where_it_stands() {
    in_namespace(|| {
        let host = EdgeHost::new("20s");
        host.wanshift(&["apply"]);
        let mut ramp = Command::new(env!("CARGO_BIN_EXE_wanshift"));
        let mut child = ramp
            .args(host.arguments())
            .args(["phase", "telework"])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(800));
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        host.edit(
            "policy.d/20-telework.toml",
            "ramp = \"20s\"",
            "ramp = \"400ms\"",
        );
        host.wanshift(&["phase", "nominal"]);
        assert!(sh("tc class show dev wan0").contains("rate 40Mbit"));
        assert!(host.wanshift(&["plan"]).contains("Nothing to write"));
    });
}

/// What changes nothing in the kernel is still to come into force: another phase is entered by it.
#[test]
fn files_that_change_nothing_in_the_kernel_are_put_into_force() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["apply"]);
        let (file, telework) = ("policy.d/20-telework.toml", "mpls = \"80mbit\"");
        host.edit(file, telework, "mpls = \"79mbit\"");
        let planned = host.run(&["plan", "--detailed-exitcode"]);
        assert_eq!(planned.status.code(), Some(2));
        let planned = String::from_utf8(planned.stdout).unwrap();
        for line in ["puts other policy files into force", "Nothing to write"] {
            assert!(planned.contains(line), "{planned}");
        }
        let applied = host.wanshift(&["apply"]);
        assert!(applied.contains("policy files are in force"), "{applied}");
        let planned = json(&host.wanshift(&["--json", "plan", "--detailed-exitcode"]));
        assert_eq!(planned["files"], "in_force", "{planned}");
    });
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        let mut plan = Command::new(env!("CARGO_BIN_EXE_wanshift"));
        let plan = plan
            .args(host.arguments())
            .arg("plan")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = plan.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
    });
}

#[test]
fn teardown_needs_neither_a_sound_store_nor_a_sound_policy() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        let before = dump();
        let break_store = [
            "echo nonsense > {state}/wanshift.db",
            "rm -rf {state} && echo a file > {state}",
            "rm -rf {state} && echo nonsense >> {config}/policy.d/20-telework.toml",
        ];
        for line in break_store {
            let state = host.state();
            host.wanshift(&["phase", "nominal"]);
            sh(&line
                .replace("{state}", state.to_str().unwrap())
                .replace("{config}", host.config().to_str().unwrap()));
            host.wanshift(&["teardown"]);
            assert_same(&dump(), &before, line);
            sh(&format!("rm -rf {}", state.display()));
        }
    });
}

#[test]
fn a_terminal_that_goes_away_leaves_nothing_half_done() {
    in_namespace(|| {
        let host = EdgeHost::new("1500ms");
        host.wanshift(&["apply"]);
        let mut ramp = Command::new(env!("CARGO_BIN_EXE_wanshift"));
        let ramp = ramp
            .args(host.arguments())
            .args(["phase", "telework"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = ramp.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        drop((child.stdout.take(), child.stderr.take()));
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGHUP).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(
            json(&host.wanshift(&["--json", "plan"]))["phase_now"],
            "telework"
        );
        assert_eq!(json(&host.wanshift(&["--json", "plan"]))["ops"], 0);
    });
}

#[test]
fn a_plan_tells_what_the_next_apply_does_where_something_was_cut_off() {
    in_namespace(|| {
        let host = EdgeHost::new("20s");
        host.wanshift(&["apply"]);
        let mut ramp = Command::new(env!("CARGO_BIN_EXE_wanshift"));
        let mut child = ramp
            .args(host.arguments())
            .args(["phase", "telework"])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(700));
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
        child.wait().unwrap();

        let plan = json(&host.wanshift(&["--json", "plan"]));
        assert_eq!(plan["cut_off"], "phase telework");
        assert_eq!(plan["phase_then"], "telework");
        assert_eq!(
            host.run(&["plan", "--detailed-exitcode"]).status.code(),
            Some(2)
        );

        // With a policy that does not load nothing is finished, and this is said.
        let file = host.config().join("policy.d/99-broken.toml");
        std::fs::write(&file, "[class.x]\nguarantee = 5\n").unwrap();
        let before = dump();
        let errors = host.refused(&["apply"]);
        assert!(
            errors.contains("phase telework") && errors.contains("99-broken.toml"),
            "{errors}"
        );
        assert_same(&dump(), &before, "after a policy that does not load");
        std::fs::remove_file(&file).unwrap();

        host.edit(
            "policy.d/20-telework.toml",
            "ramp = \"20s\"",
            "ramp = \"300ms\"",
        );
        let applied = json(&host.wanshift(&["--json", "apply"]));
        assert_eq!(applied["cut_off"], "phase telework");
        assert!(
            applied["writes_to_finish"].as_u64().unwrap() > 0,
            "{applied}"
        );
        assert!(sh("tc class show dev wan0").contains("rate 160Mbit"));
    });
}
