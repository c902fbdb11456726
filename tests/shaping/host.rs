//! The program on the lab's edge, and what its classes counted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use crate::lab::address::*;
use crate::lab::capture::Capture;
use crate::lab::{Lab, Namespace};

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_wanshift");

/// The device whose tree shapes what arrives over a circuit.
pub const DOWN: &str = "wanshift-down";

/// Which of the two trees a test is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What leaves over a circuit: seen where it arrives behind that.
    Up,
    /// What came over a circuit: seen where it arrives inside. As on the other side its bytes count with
    /// the Ethernet header of the device that it leaves by, which is what HTB charges on the IFB.
    Down,
}

impl Way {
    /// Who sends over the internet circuit, and who receives; neither is translated.
    pub fn ends(self, lab: &Lab) -> [(&Namespace, IpAddr); 2] {
        let ends = [(lab.datacentre(), GATEWAY), (lab.internet(), WEB)];
        match self {
            Self::Up => ends,
            Self::Down => [ends[1], ends[0]],
        }
    }

    /// What passes between those, after its tree.
    pub fn wire(self, lab: &Lab) -> Capture {
        Capture::start(self.ends(lab)[1].0, "edge0")
    }
}

/// A lab whose edge has policy files and a state directory.
pub struct Host {
    pub lab: Lab,
    directory: TempDir,
}

/// One circuit without a pool, on `wan0`; `more` are further keys of it.
pub fn one_circuit(capacity: &str, more: &str) -> String {
    format!(
        "name = \"lab\"\ntimezone = \"UTC\"\ninside = [\"lan0\"]\n\
         [circuit.internet]\ndevice = \"wan0\"\ncapacity = \"{capacity}\"\n{more}\n"
    )
}

/// A phase without a split, for circuits without a pool.
pub const ALWAYS: &str = "[policy]\nstart = \"always\"\n[phase.always]\n";

impl Host {
    /// The edge with a policy of the test's own. Nothing is applied yet.
    pub fn with(host: &str, policy: &str) -> Self {
        let this = Self {
            lab: Lab::new(),
            directory: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir_all(this.config().join("policy.d")).unwrap();
        this.write("host.toml", host);
        this.write("policy.d/policy.toml", policy);
        this
    }

    /// The edge with a copy of the example, whose shift takes as long as that.
    pub fn cd77(ramp: &str) -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/cd77");
        let text = |file: &str| std::fs::read_to_string(example.join(file)).unwrap();
        let this = Self::with(&text("host.toml"), "");
        std::fs::remove_file(this.config().join("policy.d/policy.toml")).unwrap();
        for file in ["policy.d/10-classes.toml", "policy.d/20-telework.toml"] {
            this.write(file, &text(file));
        }
        this.edit(
            "policy.d/20-telework.toml",
            "ramp = \"10s\"",
            &format!("ramp = \"{ramp}\""),
        );
        this
    }

    /// The edge with a copy of one of `policies`, whose phases are entered at once.
    pub fn policy(name: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("policies")
            .join(name);
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        let this = Self::with(&text(&from.join("host.toml")), "");
        std::fs::remove_file(this.config().join("policy.d/policy.toml")).unwrap();
        for entry in std::fs::read_dir(from.join("policy.d")).unwrap() {
            let path = entry.unwrap().path();
            let lines = text(&path);
            let lines = lines.lines().filter(|line| !line.starts_with("ramp = "));
            let name = path.file_name().unwrap().to_str().unwrap();
            let text: Vec<&str> = lines.collect();
            this.write(&format!("policy.d/{name}"), &text.join("\n"));
        }
        this
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("config")
    }

    /// A file beside the policy and the state.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a policy file, which the program then accepts as one of an administrator's.
    pub fn write(&self, file: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.config().join(file);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Replaces `from`, which must be there, in a policy file.
    #[track_caller]
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.config().join(file)).unwrap();
        assert!(text.contains(from), "{file} does not hold {from}");
        self.write(file, &text.replace(from, to));
    }

    /// Runs the program on the edge; it must succeed. Returns what it prints.
    #[track_caller]
    pub fn wanshift(&self, verb: &[&str]) -> String {
        let arguments = self.arguments(verb);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.lab.edge().run(PROGRAM, &arguments)
    }

    /// Runs the program on the edge, whatever comes of it.
    pub fn try_wanshift(&self, verb: &[&str]) -> Output {
        let arguments = self.arguments(verb);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.lab.edge().try_run(PROGRAM, &arguments)
    }

    /// What the program is told for that verb.
    pub fn arguments(&self, verb: &[&str]) -> Vec<String> {
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        let places = [
            ("--config", self.config()),
            ("--state", self.file("state")),
            ("--socket", self.file("run/wanshift.sock")),
        ];
        let places = places.map(|(flag, at)| [flag.to_owned(), path(at)]);
        let verb = verb.iter().map(|word| (*word).to_owned());
        places.into_iter().flatten().chain(verb).collect()
    }

    /// Bytes that each place on a device has sent, by its name in the policy. What came over a circuit is
    /// counted on [`DOWN`], where `control` is everybody's.
    pub fn counters(&self, device: &str) -> BTreeMap<String, u64> {
        let text = self
            .lab
            .edge()
            .run("tc", &["-s", "class", "show", "dev", device]);
        let mut sent = BTreeMap::new();
        let mut class = "";
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("class") => class = words.nth(1).unwrap(),
                Some("Sent") => {
                    let bytes: u64 = words.next().unwrap().parse().unwrap();
                    sent.insert(class, bytes);
                }
                _ => {}
            }
        }
        let mut named = self.places();
        if device == DOWN {
            // A place's minor is the same in both trees.
            let text = self.lab.edge().run("tc", &["qdisc", "show", "dev", device]);
            let root = text.split_whitespace().nth(2).expect("a root qdisc");
            named.retain(|place, _| !place.ends_with(".control"));
            named.insert("control".into(), ":2".into());
            for class in named.values_mut() {
                let minor = class.split_once(':').unwrap().1;
                *class = format!("{root}{minor}");
            }
        }
        let known = |(place, class): (String, String)| Some((place, *sent.get(class.as_str())?));
        named.into_iter().filter_map(known).collect()
    }

    /// The class of each place, as the packet filter's chains have it.
    fn places(&self) -> BTreeMap<String, String> {
        let table = self
            .lab
            .edge()
            .run("nft", &["list", "table", "inet", "wanshift"]);
        let mut places = BTreeMap::new();
        let mut chain = "";
        for line in table.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("chain ") {
                chain = name.trim_end_matches(" {");
            } else if let Some(class) = line.strip_prefix("meta priority set ") {
                places.insert(chain.to_owned(), class.to_owned());
            }
        }
        places
    }
}

/// Within so many parts of a hundred; says what was measured.
#[track_caller]
pub fn near(what: &str, measured: f64, expected: f64, percent: f64) {
    let off = (measured / expected - 1.0) * 100.0;
    eprintln!("{what}: {measured:.0}, {off:+.2} % of {expected:.0}");
    assert!(
        off.abs() <= percent,
        "{what}: {measured:.0}, not {expected:.0} ({off:+.2} %)"
    );
}
