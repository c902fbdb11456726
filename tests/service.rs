//! What changes where the service is a user of its own, and root helps out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use common::daemon::Daemon;
use common::host::{EdgeHost, assert_same, dump};
use common::service::{self, SERVICE, as_service, give, give_state, make_user, with_socket};
use common::{in_namespace, sh};
use nix::sched::{CloneFlags, unshare};
use wanshift::store::{Lock, Store};

/// Who owns each file of the state directory.
fn owners(directory: &Path) -> Vec<(String, u32, u32)> {
    let files = std::fs::read_dir(directory).unwrap();
    files
        .map(|file| {
            let file = file.unwrap();
            let facts = file.metadata().unwrap();
            let name = file.file_name().into_string().unwrap();
            (name, facts.uid(), facts.gid())
        })
        .collect()
}

fn all_the_services(directory: &Path) {
    let owners = owners(directory);
    assert!(
        owners
            .iter()
            .all(|(_, user, group)| (*user, *group) == (SERVICE, SERVICE)),
        "{owners:?}"
    );
}

/// A state directory of the service's, under one that all may enter.
fn state() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let state = directory.path().join("state");
    give(&state);
    (directory, state)
}

#[test]
fn the_service_changes_the_kernel_with_one_capability() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        give_state(&host);
        sh(
            "nft add table ip theirs; nft add chain ip theirs forward '{ type filter hook forward priority 0; }'",
        );
        sh("tc qdisc add dev lan0 clsact");
        sh("nft add rule ip theirs forward ct state established accept");
        let rights = as_service("sh")
            .args([
                "-c",
                "id -u; grep -E 'Cap(Eff|Bnd)|NoNew' /proc/self/status",
            ])
            .output()
            .unwrap();
        let rights = String::from_utf8(rights.stdout).unwrap();
        let words: Vec<&str> = rights.split_whitespace().collect();
        assert_eq!(
            words,
            [
                "64321",
                "CapEff:",
                "0000000000001000",
                "CapBnd:",
                "0000000000001000",
                "NoNewPrivs:",
                "1"
            ]
        );
        let before = dump();
        service::wanshift(&host, &["plan"]);
        service::wanshift(&host, &["apply"]);
        assert!(sh("nft list tables").contains("inet wanshift"));
        assert!(sh("tc qdisc show dev wan0").contains("htb 7a"));
        assert!(sh("tc qdisc show").contains("dev wanshift-down"));
        service::wanshift(&host, &["phase", "telework"]);
        let plan = service::run(&host, &["plan", "--detailed-exitcode"]);
        assert_eq!(plan.status.code(), Some(0));
        service::wanshift(&host, &["condition"]);
        all_the_services(&host.state());
        service::wanshift(&host, &["teardown"]);
        assert_same(&dump(), &before, "after teardown");
    });
}

#[test]
fn without_the_capability_nothing_is_changed() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        give_state(&host);
        let before = dump();
        let mut command = std::process::Command::new("setpriv");
        let output = command
            .args(["--reuid=64321", "--regid=64321", "--clear-groups"])
            .arg(env!("CARGO_BIN_EXE_wanshift"))
            .args(host.arguments())
            .arg("apply")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_same(&dump(), &before, "after the refusal");
    });
}

#[test]
fn root_helps_out_where_the_service_is_down_and_the_service_goes_on() {
    in_namespace(|| {
        make_user();
        let host = EdgeHost::new("0s");
        give_state(&host);
        let before = dump();
        // The first to use the directory.
        host.wanshift(&["apply"]);
        all_the_services(&host.state());
        service::wanshift(&host, &["phase", "telework"]);
        host.wanshift(&["event", "uplink-upgraded"]);
        host.wanshift(&["plan"]);
        all_the_services(&host.state());
        service::wanshift(&host, &["plan"]);
        host.wanshift(&["teardown"]);
        all_the_services(&host.state());
        assert_same(&dump(), &before, "after teardown");
        service::wanshift(&host, &["apply"]);
    });
}

#[test]
fn every_file_that_root_makes_is_the_services_while_the_store_is_open_too() {
    in_namespace(|| {
        make_user();
        let (_directory, state) = state();
        let lock = Lock::take(&state, "root").unwrap();
        let store = Store::open(&state).unwrap();
        let names: Vec<String> = owners(&state).into_iter().map(|(name, ..)| name).collect();
        for file in ["lock", "wanshift.db", "wanshift.db-wal", "wanshift.db-shm"] {
            assert!(names.iter().any(|name| name == file), "{names:?}");
        }
        all_the_services(&state);
        drop((store, lock));
        // The rights of root are back.
        let mine = state.parent().unwrap().join("mine");
        std::fs::write(&mine, "").unwrap();
        assert_eq!(std::fs::metadata(&mine).unwrap().uid(), 0);
        Store::read(&state).unwrap().unwrap();
        all_the_services(&state);
    });
}

#[test]
fn root_believes_no_other_users_directory() {
    in_namespace(|| {
        let (_directory, state) = state();
        // Nobody of the service's name is known here, or he has another number.
        let why = Store::open(&state).unwrap_err().to_string();
        assert!(why.contains("belongs to user 64321"), "{why}");
        make_user();
        Store::open(&state).unwrap();
        sh(&format!("chown -R 64322 {}", state.display()));
        let why = Lock::take(&state, "root").unwrap_err().to_string();
        assert!(why.contains("belongs to user 64322"), "{why}");
    });
}

#[test]
fn root_does_not_believe_policy_files_of_the_service() {
    in_namespace(|| {
        make_user();
        let host = EdgeHost::new("0s");
        sh(&format!(
            "chown {SERVICE} {}/policy.d/10-classes.toml",
            host.config().display()
        ));
        // In one line: where it is parted hangs on how long the path is.
        let errors = host.refused(&["apply"]).replace("\n  │", "");
        assert!(errors.contains("belongs to user 64321"), "{errors}");
    });
}

#[test]
fn links_that_the_services_user_planted_lead_root_nowhere() {
    in_namespace(|| {
        make_user();
        for file in [
            "lock",
            "wanshift.db",
            "wanshift.db-journal",
            "wanshift.db-wal",
        ] {
            let (directory, state) = state();
            let secret = directory.path().join("secret");
            let untouched = || {
                let facts = std::fs::metadata(&secret).unwrap();
                assert_eq!(std::fs::read(&secret).unwrap(), b"", "{file}");
                assert_eq!((facts.uid(), facts.gid()), (0, 0), "{file}");
            };
            std::fs::write(&secret, "").unwrap();
            std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
            let attempt = || {
                let lock = Lock::take(&state, "root");
                let store = Store::open(&state);
                (lock.is_err(), store.is_err())
            };
            // A name more for a file of root's: no link, and root's, so that it looks like one of ours.
            std::fs::hard_link(&secret, state.join(file)).unwrap();
            let failed = attempt();
            assert!(failed.0 || failed.1, "{file}: {failed:?}");
            untouched();
            std::fs::remove_file(state.join(file)).unwrap();
            symlink(&secret, state.join(file)).unwrap();
            assert_eq!(attempt(), (true, true), "{file}");
            untouched();
        }
    });
}

/// The kernel loads modules with its own rights: what the unit takes away (`ProtectKernelModules=`, all
/// capabilities but one) does not stop it, and no list of modules is needed.
#[test]
#[ignore = "run by scripts/test on a stock kernel"]
fn stock_the_kernel_loads_the_modules_that_the_service_needs() {
    const NEEDED: [&str; 6] = [
        "ifb",
        "sch_htb",
        "cls_bpf",
        "act_mirred",
        "nft_ct",
        "nft_reject_inet",
    ];
    let loaded = |module: &str| Path::new("/sys/module").join(module).is_dir();
    in_namespace(move || {
        let host = EdgeHost::new("0s");
        give_state(&host);
        for module in NEEDED {
            // Namespaces of earlier tests are taken down in the background.
            for _ in 0..50 {
                if !loaded(module) {
                    break;
                }
                sh(&format!("modprobe -r {module} 2>/dev/null || sleep 0.2"));
            }
            assert!(!loaded(module), "{module} stays");
        }
        service::wanshift(&host, &["apply"]);
        // Which blocks.
        service::wanshift(&host, &["phase", "telework"]);
        for module in NEEDED {
            assert!(loaded(module), "{module}");
        }
        service::wanshift(&host, &["teardown"]);
    });
}

/// What is answered at `path`.
fn asked(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_daemon_does_all_of_it_as_the_services_user() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        give_state(&host);
        sh("ip link set lo up");
        let before = dump();
        let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut daemon = Daemon::start_as(&host, with_socket(&host, &metrics, &[]), &[]);
        // As `systemctl reload` does.
        service::wanshift(&host, &["apply"]);
        daemon.wait_for_phase("nominal");
        let text = asked(metrics.local_addr().unwrap(), "/metrics");
        assert!(text.contains("wanshift_healthy 1"), "{text}");
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for_phase("telework");
        let block = || sh("nft list ruleset").contains("chain block.browsing-in-session");
        let shaped = || sh("tc class show dev wan0").contains("rate 220Mbit");
        assert!(block() && shaped());
        let held = dump();
        // Somebody else's work is put right.
        sh("nft flush ruleset; tc qdisc del dev wan0 root");
        daemon.wait_for("the repair", |_| dump() == held);
        // A change that is not confirmed goes back.
        host.wanshift(&["phase", "nominal", "--confirm-within", "1s"]);
        daemon.wait_for("the way back", |status| {
            status["pending"].is_null() && block() && shaped()
        });
        host.wanshift(&["phase", "nominal", "--confirm-within", "10m"]);
        host.wanshift(&["confirm"]);
        assert!(!block());
        host.wanshift(&["rollback"]);
        daemon.wait_for_phase("telework");
        assert!(block());
        host.wanshift(&["event", "uplink-upgraded"]);
        daemon.wait_for_phase("upgraded");
        let status = daemon.wait_for("health", |status| status["healthy"] == true);
        assert_eq!(status["problems"].as_array().unwrap().len(), 0);
        all_the_services(&host.state());
        host.wanshift(&["teardown"]);
        assert_same(&dump(), &before, "after teardown");
        assert!(daemon.end().success());
    });
}

#[test]
fn metrics_that_cannot_be_served_keep_the_daemon_from_nothing_else() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        sh("ip link set lo up");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_wanshift"));
        let mut daemon = Daemon::start_as(&host, command, &["--http", &address.to_string()]);
        let status = daemon.wait_for("what is wrong", |status| status["healthy"] == false);
        let said = status["problems"].to_string();
        assert!(
            said.contains("cannot serve metrics") && said.contains("serve"),
            "{said}"
        );
        host.wanshift(&["phase", "telework"]);
        drop(taken);
        daemon.wait_for("health", |status| status["healthy"] == true);
        assert!(asked(address, "/healthz").contains("healthy"));
        // From elsewhere nobody may ask.
        drop(daemon);
        let refused = host.run(&["run", "--http", "0.0.0.0:9817"]);
        let said = common::said(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("other hosts could reach it"), "{said}");
        assert!(TcpStream::connect("127.0.0.1:9817").is_err());
    });
}

#[test]
fn early_at_boot_the_service_blocks_again() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        give_state(&host);
        service::wanshift(&host, &["phase", "telework"]);
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let told = service::wanshift(&host, &["restore-blocks"]);
        assert!(
            told.contains("Blocked again: browsing-in-session"),
            "{told}"
        );
        assert!(sh("nft list ruleset").contains("chain block.browsing-in-session"));
        all_the_services(&host.state());
    });
}
