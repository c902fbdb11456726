//! What is in the package, and as what.

use std::path::Path;

use crate::deb::{self, Debs, sh};

#[test]
fn the_package_has_what_an_administrator_looks_for() {
    if !deb::ready() {
        return;
    }
    let debs = Debs::shared();
    let version = env!("CARGO_PKG_VERSION");
    let changelog = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/debian/changelog"),
    );
    let first = changelog.unwrap().lines().next().unwrap().to_owned();
    assert!(
        first.starts_with(&format!("wanshift ({version}-1) ")),
        "dist/debian/changelog is of another version: {first}"
    );
    assert_eq!(debs.field("Package"), "wanshift");
    let depends = debs.field("Depends");
    for needed in ["libc6 (>=", "nftables", "systemd-standalone-sysusers"] {
        assert!(depends.contains(needed), "depends on {depends}");
    }
    let about = debs.field("Description");
    assert!(about.lines().next().unwrap().len() <= 80, "{about}");

    let content = debs.content();
    for (mode, owner, path) in &content {
        assert_eq!(owner, "0/0", "{path}");
        let expected = match path.as_str() {
            "/usr/bin/wanshift" => "-rwxr-xr-x",
            path if path.ends_with('/') => "drwxr-xr-x",
            _ => "-rw-r--r--",
        };
        assert_eq!(mode, expected, "{path}");
    }
    for path in [
        "/usr/lib/systemd/system/wanshift.service",
        "/usr/lib/systemd/system/wanshift.socket",
        "/usr/lib/systemd/system/wanshift-blocks.service",
        "/usr/lib/sysusers.d/wanshift.conf",
        "/usr/lib/modprobe.d/wanshift.conf",
        "/usr/share/man/man1/wanshift.1.gz",
        "/usr/share/man/man1/wanshift-phase.1.gz",
        "/usr/share/man/man1/wanshift-condition-reset.1.gz",
        "/usr/share/bash-completion/completions/wanshift",
        "/usr/share/zsh/vendor-completions/_wanshift",
        "/usr/share/fish/vendor_completions.d/wanshift.fish",
        "/usr/share/wanshift/policy.schema.json",
        "/usr/share/wanshift/prometheus/wanshift.rules.yml",
        "/usr/share/wanshift/grafana/wanshift.json",
        "/usr/share/doc/wanshift/examples/cd77/policy.d/20-telework.toml",
        "/usr/share/doc/wanshift/README.md",
        "/usr/share/doc/wanshift/changelog.gz",
        "/usr/share/doc/wanshift/changelog.Debian.gz",
        "/usr/share/doc/wanshift/copyright",
    ] {
        assert!(content.iter().any(|(.., is)| is == path), "no {path}");
    }
    // What a purge takes along.
    let conffiles = sh(&format!(
        "dpkg-deb --ctrl-tarfile {} | tar -xO ./conffiles",
        debs.files[0].display()
    ));
    let mut conffiles: Vec<&str> = conffiles.lines().filter(|line| !line.is_empty()).collect();
    conffiles.sort_unstable();
    assert_eq!(conffiles, ["/etc/default/wanshift", "/etc/wanshift/README"]);
    // Each library that is linked, with its licence.
    let libraries = debs.unpacked("/usr/share/doc/wanshift/libraries");
    assert!(
        libraries.contains("\ntokio v1.") && libraries.lines().all(|line| line.contains(": ")),
        "{libraries}"
    );
    let copyright = debs.unpacked("/usr/share/doc/wanshift/copyright");
    assert!(copyright.contains("License: Expat or Apache-2.0"));
}
