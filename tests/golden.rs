//! Golden triples: what the kernel holds, what it should hold, and the plan that leads there. One file a
//! case in `tests/golden`, to be read by whoever wants to know what wanshift would do.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use wanshift::engine::Engine;
use wanshift::executor::converge;
use wanshift::kernel::fake::FakeKernel;
use wanshift::kernel::{Kernel, Scope};
use wanshift::lower::{Facts, Lowered, Names, lower};
use wanshift::model::filter::{Chain, ChainName, Line, Table};
use wanshift::model::ids::Ids;
use wanshift::model::names::DeviceName;
use wanshift::model::state::{
    Device, Edge, ForeignRoot, Ifb, KernelState, Leaf, LeafKind, Role, Root, Selector, Takes,
    TcClass, Ticks,
};
use wanshift::plan::op::Op;
use wanshift::plan::{Bounds, Goal, Plan, PlanReport, diff, report};
use wanshift::policy::{Policy, Source, read};
use wanshift::units::Direction;

/// An edit of a policy: in which text, what, by what.
type Edit = (&'static str, &'static str);

const HOST: &str = include_str!("../policies/cd77/host.toml");
const CLASSES: &str = include_str!("../policies/cd77/policy.d/10-classes.toml");
const TELEWORK: &str = include_str!("../policies/cd77/policy.d/20-telework.toml");

fn policy(edits: &[Edit]) -> Arc<Policy> {
    let mut texts = [HOST, CLASSES, TELEWORK].map(str::to_owned);
    for (from, to) in edits {
        let text = texts.iter_mut().find(|text| text.contains(from)).unwrap();
        *text = text.replace(from, to);
    }
    let names = ["host.toml", "10-classes.toml", "20-telework.toml"];
    let sources: Vec<Source> = names
        .iter()
        .zip(texts)
        .map(|(name, text)| Source {
            name: (*name).into(),
            text: text.into(),
        })
        .collect();
    match read(&sources) {
        Ok(policy) => Arc::new(policy),
        Err(faults) => panic!("{faults}"),
    }
}

fn kernel(wan: Root) -> FakeKernel {
    let device = |name: &str, root: Root| {
        let facts = Device {
            index: 1,
            mtu: 1_500,
            header: 14,
            gso_max: 65_536,
            kind: "veth".to_owned(),
            lower: None,
            master: None,
            up: true,
            priority_map: false,
            root,
            edge: Edge::None,
        };
        (name.parse::<DeviceName>().unwrap(), facts)
    };
    let default = || Root::Default {
        kind: "mq".to_owned(),
    };
    let devices = [
        device("mpls0", default()),
        device("wan0", wan),
        device("lan0", default()),
        device("lan1", default()),
    ];
    FakeKernel::new(
        devices,
        BTreeSet::from([LeafKind::Pfifo, LeafKind::FqCodel]),
    )
}

fn lowered(
    kernel: &mut FakeKernel,
    policy: &Arc<Policy>,
    phase: &str,
    ids: &mut Ids,
) -> (Engine, Lowered) {
    let observed = kernel.observe(Scope::All).unwrap();
    let facts = Facts::of(&observed, kernel.leaves().unwrap());
    let engine = Engine::holding(policy.clone(), phase.parse().unwrap()).unwrap();
    let lowered = lower(policy, &engine.goal(), &facts, ids).unwrap();
    (engine, lowered)
}

/// What the kernel holds, a class a line.
fn show(state: &KernelState, names: &Names) -> String {
    let mut text = String::new();
    if let Some(ifb) = state.ifb {
        writeln!(text, "ifb {}", if ifb.up { "up" } else { "down" }).unwrap();
    }
    for (device, feed) in &state.feeds {
        writeln!(
            text,
            "{device} {} in clsact of {:?}",
            takes(feed.takes),
            feed.clsact
        )
        .unwrap();
    }
    for (device, tree) in &state.trees {
        writeln!(
            text,
            "{device} htb {:x}: default {:x}{}",
            tree.major.get(),
            tree.default.get(),
            match tree.selector {
                Selector::Priority => String::new(),
                Selector::Mark(mask) => format!(" by mark {:#010x}", mask.bits()),
                Selector::Drifted => " by what is not ours".to_owned(),
            }
        )
        .unwrap();
        for (minor, class) in &tree.classes {
            let place = names
                .spot(device, *minor)
                .map_or("?".to_owned(), ToString::to_string);
            write!(
                text,
                "  :{:<4x} {place:<26} rate {:<9} ceil {:<9}",
                minor.get(),
                class.rate,
                class.ceil
            )
            .unwrap();
            match &class.role {
                Role::Inner => writeln!(text, " inner"),
                Role::Leaf { priority, leaf, .. } => {
                    writeln!(
                        text,
                        " prio {} {}",
                        priority.get(),
                        leaf.map_or("-", leaf_name)
                    )
                }
            }
            .unwrap();
        }
    }
    let rules = state
        .table
        .as_ref()
        .map_or(0, |table| table.class_ids().len());
    writeln!(text, "rules that lead to {rules} places").unwrap();
    text
}

/// A block that comes is there from the first write on, one that goes to the last write of rules.
fn blocks_stay(plan: &Plan, now: Option<&Table>, goal: Option<&Table>) {
    let blocks = |table: Option<&Table>| table.map(Table::blocks).unwrap_or_default();
    let (held, wanted) = (blocks(now), blocks(goal));
    let all = &held | &wanted;
    let writes: Vec<&Op> = plan.ops().collect();
    let last = writes
        .iter()
        .rposition(|op| matches!(op, Op::SetTable { .. }));
    for (place, op) in writes.iter().enumerate() {
        let Op::SetTable { from, to } = op else {
            assert!(
                place > 0 || wanted.is_subset(&held),
                "{op:?} goes before the blocks"
            );
            continue;
        };
        assert!(place == 0 || blocks(from.as_ref()) == all);
        let to = blocks(to.as_ref());
        assert!(to == all || (Some(place) == last && to == wanted), "{to:?}");
    }
}

fn takes(takes: Takes) -> String {
    match takes {
        Takes::Marked(mask) => format!("takes mark {:#010x}", mask.bits()),
        Takes::Drifted => "takes what is not ours to say".to_owned(),
    }
}

fn leaf_name(leaf: Leaf) -> &'static str {
    leaf.kind().map_or("other", LeafKind::name)
}

fn show_op(op: &Op, names: &Names) -> String {
    let place = |device, id: wanshift::model::state::ClassId| {
        let spot = names
            .spot(device, id.minor)
            .map_or_else(|| format!("{device} {id}"), ToString::to_string);
        match Ifb::direction(device) {
            Direction::Up => spot,
            Direction::Down => format!("{spot} down"),
        }
    };
    match op {
        Op::AddIfb { .. } => "add the ifb".to_owned(),
        Op::RaiseIfb { .. } => "set the ifb up".to_owned(),
        Op::DeleteIfb { .. } => "delete the ifb".to_owned(),
        Op::SetSelector { device, to, .. } => format!("select on {device} by {to:?}"),
        Op::SetFeed { device, to, .. } => match to {
            Some(feed) => format!("feed from {device}: {}", takes(feed.takes)),
            None => format!("no feed from {device}"),
        },
        Op::AddRoot { device, over, .. } => match over {
            Some(root) => format!("take {device} from {root}"),
            None => format!("take {device}"),
        },
        Op::DeleteRoot { device, .. } => format!("give {device} back"),
        Op::AddClass { device, id, class } => format!("add {} {}", place(device, *id), class.rate),
        Op::ChangeClass {
            device,
            id,
            from,
            to,
        } => {
            format!(
                "change {} {} → {} ceil {} → {}",
                place(device, *id),
                from.rate,
                to.rate,
                from.ceil,
                to.ceil
            )
        }
        Op::DeleteClass { device, id, .. } => format!("delete {}", place(device, *id)),
        Op::SetLeaf { device, id, to, .. } => {
            format!("queue of {}: {}", place(device, *id), leaf_name(*to))
        }
        Op::SetTable { to, .. } => {
            let places: Vec<String> = to
                .iter()
                .flat_map(|table| table.class_ids())
                .map(|(key, _)| key.to_string())
                .collect();
            format!("rules that lead to {}", places.join(" "))
        }
    }
}

fn show_plan(plan: &Plan, names: &Names) -> String {
    let mut text = String::new();
    for stage in &plan.stages {
        writeln!(text, "{:?}", stage.step).unwrap();
        for op in &stage.ops {
            writeln!(text, "  {}", show_op(op, names)).unwrap();
        }
    }
    text
}

struct Case {
    name: &'static str,
    wan: Root,
    /// What held before: a policy and its phase; `None` where nothing did.
    before: Option<(Arc<Policy>, &'static str)>,
    /// What somebody else did since.
    tampering: fn(&mut KernelState),
    after: Arc<Policy>,
    phase: &'static str,
}

fn none(_: &mut KernelState) {}

fn bounds(policy: &Policy, phase: &str) -> Bounds {
    let phase = &policy.phases()[&phase.parse().unwrap()];
    Bounds::of(policy, &policy.pools_with(phase, &BTreeSet::new()))
}

fn golden(case: Case) -> PlanReport {
    let mut kernel = kernel(case.wan);
    let mut ids = Ids::default();
    let mut names_before = Names::default();
    if let Some((policy, phase)) = &case.before {
        let (_, before) = lowered(&mut kernel, policy, phase, &mut ids);
        let bounds = bounds(policy, phase);
        let goal = Goal {
            state: &before.state,
            names: &before.names,
            bounds: &bounds,
        };
        converge(&mut kernel, &goal, Scope::All).unwrap();
        (case.tampering)(&mut kernel.held_mut().state);
        names_before = before.names;
    }
    let known = ids.clone();
    let (engine, mut after) = lowered(&mut kernel, &case.after, case.phase, &mut ids);
    after.names.remember(&kernel.held().state, &known);
    let bounds = bounds(&case.after, case.phase);
    let goal = Goal {
        state: &after.state,
        names: &after.names,
        bounds: &bounds,
    };
    let current = kernel.observe(Scope::All).unwrap();
    let plan = diff(&current, &goal);
    blocks_stay(
        &plan,
        current.state.table.as_ref(),
        after.state.table.as_ref(),
    );
    let told = report(&plan, &after.names, &engine.reasons());
    let text = format!(
        "== current\n{}\n== desired\n{}\n== plan\n{}\n== as it is told\n{told}",
        show(&current.state, &names_before),
        show(&after.state, &after.names),
        show_plan(&plan, &after.names),
    );
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(case.name, text));

    // And the plan leads where it says.
    let ops: Vec<Op> = plan.ops().cloned().collect();
    for outcome in kernel.apply(&ops) {
        outcome.unwrap();
    }
    assert_eq!(kernel.observe(Scope::All).unwrap().state, after.state);
    told
}

/// What is told of `place`, as JSON.
fn json(told: &PlanReport, place: &str) -> serde_json::Value {
    let told = serde_json::to_value(told).unwrap();
    let changes = told["changes"].as_array().unwrap();
    changes
        .iter()
        .find(|change| change["place"] == place)
        .unwrap()
        .clone()
}

fn default_root() -> Root {
    Root::Default {
        kind: "mq".to_owned(),
    }
}

fn from_cd77(
    name: &'static str,
    phase: &'static str,
    edits: &[Edit],
    to: &'static str,
) -> PlanReport {
    golden(Case {
        name,
        wan: default_root(),
        before: Some((policy(&[]), phase)),
        tampering: none,
        after: policy(edits),
        phase: to,
    })
}

fn tampered(name: &'static str, tampering: fn(&mut KernelState)) -> PlanReport {
    golden(Case {
        name,
        wan: default_root(),
        before: Some((policy(&[]), "nominal")),
        tampering,
        after: policy(&[]),
        phase: "nominal",
    })
}

fn edited(name: &'static str, edits: &[Edit]) -> PlanReport {
    from_cd77(name, "nominal", edits, "nominal")
}

/// The class of the internet's rest.
fn rest(state: &mut KernelState) -> &mut TcClass {
    let wan: DeviceName = "wan0".parse().unwrap();
    let tree = state.trees.get_mut(&wan).unwrap();
    let last = |class: &&mut TcClass| matches!(&class.role, Role::Leaf { priority, .. } if priority.get() == 7);
    tree.classes.values_mut().find(last).unwrap()
}

#[test]
fn from_nothing() {
    let after = policy(&[]);
    golden(Case {
        name: "from-nothing",
        wan: default_root(),
        before: None,
        tampering: none,
        after,
        phase: "nominal",
    });
}

#[test]
fn adoption() {
    let after = policy(&[("device = \"wan0\"", "device = \"wan0\"\nadopt = true")]);
    let wan = Root::Foreign(ForeignRoot {
        kind: "tbf".to_owned(),
        major: 0x77,
    });
    golden(Case {
        name: "adoption",
        wan,
        before: None,
        tampering: none,
        after,
        phase: "nominal",
    });
}

#[test]
fn the_shift_and_the_way_back() {
    let told = from_cd77("shift", "nominal", &[], "telework");
    for (place, line) in [
        ("mpls", 9),
        ("mpls.rest", 9),
        ("internet.class.gateway", 10),
    ] {
        let why = &json(&told, place)["why"];
        assert_eq!(why["origin"]["file"], "20-telework.toml");
        assert_eq!(why["origin"]["line"], line, "{place}");
    }
    assert!(
        told.to_string()
            .lines()
            .all(|line| line.chars().count() <= 100)
    );
    from_cd77("way-back", "telework", &[], "nominal");
}

#[test]
fn nothing_to_do() {
    from_cd77("nothing-to-do", "telework", &[], "telework");
}

#[test]
fn a_class_comes() {
    let class = "[class.backup]\ncircuit = \"internet\"\nmatch = [{ service = [\"tcp/873\"] }]\nguarantee = \"1mbit\"\n\n[class.video]";
    from_cd77(
        "class-comes",
        "nominal",
        &[("[class.video]", class)],
        "nominal",
    );
}

#[test]
fn a_block_changes_and_one_comes_as_a_class_goes() {
    let shortcuts = "[\"203.0.113.80/32\"]";
    from_cd77(
        "block-changes",
        "telework",
        &[(shortcuts, "[\"203.0.113.80/32\", \"203.0.113.81/32\"]")],
        "telework",
    );
    let video = CLASSES.find("[class.video]").unwrap()..CLASSES.find("[site.mds-provins]").unwrap();
    from_cd77(
        "block-comes-class-goes",
        "nominal",
        &[(&CLASSES[video], "")],
        "telework",
    );
}

#[test]
fn a_class_goes_while_its_circuit_shrinks() {
    let video = CLASSES.find("[class.video]").unwrap()..CLASSES.find("[site.mds-provins]").unwrap();
    from_cd77(
        "class-goes",
        "telework",
        &[(&CLASSES[video], "")],
        "nominal",
    );
}

#[test]
fn a_class_moves_to_another_circuit() {
    let from = "[class.video]\ncircuit = \"internet\"";
    from_cd77(
        "class-moves",
        "nominal",
        &[(from, "[class.video]\ncircuit = \"mpls\"")],
        "nominal",
    );
}

#[test]
fn a_circuit_moves_to_another_device() {
    let edits = [
        ("device = \"wan0\"", "device = \"lan0\""),
        ("inside = [\"lan0\"]", "inside = [\"lan1\"]"),
    ];
    from_cd77("device-changes", "nominal", &edits, "nominal");
}

#[test]
fn another_queue_is_asked_for() {
    from_cd77(
        "queue-changes",
        "nominal",
        &[("device = \"mpls0\"", "device = \"mpls0\"\nleaf = \"pfifo\"")],
        "nominal",
    );
}

#[test]
fn a_class_weighs_more() {
    let told = edited(
        "weight-changes",
        &[("priority = 2", "priority = 2\nweight = 3")],
    );
    let video = json(&told, "internet.class.video");
    assert_eq!(
        (&video["was"]["weight"], &video["will"]["weight"]),
        (&1.into(), &3.into())
    );
}

#[test]
fn a_circuit_turns_out_to_frame_its_packets() {
    let edit = "device = \"mpls0\"\noverhead = 20\nlink_layer = \"atm\"";
    let told = edited("link-changes", &[("device = \"mpls0\"", edit)]);
    let rest = json(&told, "mpls.rest");
    assert_eq!(rest["was"]["overhead"], 0);
    assert_eq!(rest["will"]["overhead"], 20);
    assert_eq!(rest["will"]["link_layer"], "atm");
}

#[test]
fn a_match_is_edited() {
    let told = edited("match-changes", &[("192.0.2.10", "192.0.2.11")]);
    let gateway = json(&told, "internet.class.gateway");
    assert_eq!(gateway["device"], "wan0");
    assert_eq!(
        gateway["rules"]["removed"][1],
        "to 192.0.2.10, service udp/443"
    );
    assert_eq!(
        gateway["rules"]["added"][1],
        "to 192.0.2.11, service udp/443"
    );
    assert_eq!(gateway["why"]["origin"]["line"], 11);
    assert_eq!(told.rule_writes, 1);
}

#[test]
fn a_match_and_the_figures_are_edited() {
    let edits = [
        ("\"192.0.2.10\"", "\"192.0.2.10\", \"192.0.2.12\""),
        (
            "class.gateway = { guarantee = \"160mbit\" }",
            "class.gateway = { guarantee = \"150mbit\", priority = 3 }",
        ),
    ];
    from_cd77("match-and-override-change", "telework", &edits, "telework");
}

#[test]
fn a_site_has_another_prefix() {
    edited("prefix-changes", &[("10.77.101.0/24", "10.77.104.0/23")]);
}

#[test]
fn classes_are_put_in_another_order() {
    let video = &CLASSES
        [CLASSES.find("[class.video]").unwrap()..CLASSES.find("[site.mds-provins]").unwrap()];
    let first: &'static str = format!("{video}[class.gateway]").leak();
    edited("order-changes", &[(video, ""), ("[class.gateway]", first)]);
}

#[test]
fn a_class_is_renamed() {
    edited("class-renamed", &[("[class.video]", "[class.meetings]")]);
}

#[test]
fn a_phase_replaces_keys_of_a_site() {
    let edit = "block = [\"browsing-in-session\"]\nsite.mds-provins = { guarantee = \"3mbit\" }";
    from_cd77(
        "site-override",
        "telework",
        &[("block = [\"browsing-in-session\"]", edit)],
        "telework",
    );
}

#[test]
fn a_site_gets_classes() {
    let edit = "guarantee = \"2mbit\"\n[site.mds-provins.class.voice]\nmatch = [{ dscp = [\"ef\"] }]\nguarantee = \"500kbit\"\n";
    edited("site-gets-classes", &[("guarantee = \"2mbit\"", edit)]);
}

#[test]
fn somebody_put_another_queue_there() {
    let told = tampered("foreign-leaf", |state| {
        if let Role::Leaf { leaf, .. } = &mut rest(state).role {
            *leaf = Some(Leaf::Other);
        }
    });
    let rest = json(&told, "internet.rest");
    assert_eq!(rest["was"]["leaf"], "not ours");
    assert!(
        rest["will"]["leaf"]
            .as_str()
            .unwrap()
            .starts_with("fq_codel ")
    );
}

#[test]
fn somebody_changed_a_burst() {
    tampered("foreign-burst", |state| {
        rest(state).burst = Ticks::from_nanoseconds(1_600_000);
    });
}

#[test]
fn somebody_removed_the_rules() {
    tampered("rules-missing", |state| state.table = None);
}

#[test]
fn somebody_changed_the_rules() {
    tampered("foreign-rules", |state| {
        let table = state.table.as_mut().unwrap();
        let chain = |name: &str| ChainName::new(name);
        let gateway = table.chains.get_mut(&chain("internet.class.gateway"));
        gateway.unwrap().lines.clear();
        let traffic = table.chains.get_mut(&chain("internet.traffic")).unwrap();
        traffic
            .lines
            .insert(0, Line::Foreign("counter drop".to_owned()));
        table.chains.insert(chain("theirs"), Chain::default());
    });
}
