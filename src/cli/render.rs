//! `wanshift render`: what a policy comes to, on paper, in the words of `tc` and of `nft`. Writes nothing.
//!
//! What it prints makes the same kernel as `apply` does on a host that has nothing of ours yet: a reader may learn from
//! it, compare it with what he has, or paste it. What it had to assume stands at its top.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::output::Output;
use super::{Global, OpenKernel, place};
use crate::api::Failure;
use crate::engine::Engine;
use crate::executor::error::ChangeError;
use crate::keeper::files;
use crate::kernel::{Kernel, KernelError, Scope, nft, tc};
use crate::lower::{Facts, Lowered, lower, missing};
use crate::model::hold::Established;
use crate::model::ids::Ids;
use crate::model::names::PhaseName;
use crate::model::state::{Device, Edge, LeafKind, Observed, Root};
use crate::policy::Policy;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Which of the two
    what: What,
    /// The phase [default: the one that the policy starts with]
    #[arg(long, value_name = "NAME")]
    phase: Option<PhaseName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum What {
    /// Traffic control, as a shell script of ip and tc
    Tc,
    /// The packet filter, as a file for nft -f
    Nft,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Rendered {
    /// For which program.
    what: What,
    /// The host, as its file names it.
    host: String,
    /// The phase.
    phase: PhaseName,
    /// What could not be known and was taken to be so.
    assumed: Vec<String>,
    /// What the program cannot say as it is.
    unsaid: Vec<String>,
    /// What people get.
    text: String,
}

pub fn render(
    global: &Global,
    args: &RenderArgs,
    kernel: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let policy = files::on_paper(global.config(), output.style())?.policy;
    let phase = args.phase.as_ref().unwrap_or_else(|| policy.start());
    let required = policy
        .phases()
        .get(phase)
        .and_then(|it| it.requires.clone());
    let holds: BTreeSet<_> = required.into_iter().collect();
    let engine = Engine::entering(policy.clone(), phase.clone(), holds)?;
    let mut assumed = Vec::new();
    let facts = match args.what {
        What::Tc => known(&policy, kernel(), &mut assumed),
        // Rules go by the names of devices, whatever these are.
        What::Nft => stood_in(
            &policy,
            Facts::of(&Observed::default(), every_leaf()),
            &mut Vec::new(),
        ),
    };
    let mut ids = numbers(global, &mut assumed);
    let lowered = lower(&policy, &engine.goal(), &facts, &mut ids).map_err(ChangeError::Lower)?;
    assumed.extend(of_time(&engine));
    let mut rendered = Rendered {
        what: args.what,
        host: policy.host().name.to_string(),
        phase: phase.clone(),
        assumed,
        unsaid: Vec::new(),
        text: String::new(),
    };
    rendered.text = match args.what {
        What::Tc => shaping(&lowered, &facts, &mut rendered),
        What::Nft => rules(&lowered, &rendered),
    };
    output.verbatim(&rendered, &rendered.text)?;
    Ok(0)
}

/// What this kernel shows of itself, and what is taken to be so where it does not.
fn known(
    policy: &Policy,
    kernel: Result<Box<dyn Kernel>, KernelError>,
    assumed: &mut Vec<String>,
) -> Facts {
    let (seen, leaves) = match kernel {
        Ok(mut kernel) => (kernel.observe(Scope::Shaping), kernel.leaves().ok()),
        Err(error) => (Err(error), None),
    };
    let observed = seen.unwrap_or_else(|error| {
        tracing::debug!(%error, "this host is not looked at");
        Observed::default()
    });
    let leaves = leaves.unwrap_or_else(|| {
        let why = "queues are fq_codel: which ones this kernel has is told to root alone";
        assumed.push(why.to_owned());
        every_leaf()
    });
    let facts = Facts {
        // Somebody's class in a tree of ours: here the tree is made anew.
        strangers: Vec::new(),
        ..Facts::of(&observed, leaves)
    };
    stood_in(policy, facts, assumed)
}

fn every_leaf() -> BTreeSet<LeafKind> {
    BTreeSet::from([
        LeafKind::Pfifo,
        LeafKind::Sfq,
        LeafKind::FqCodel,
        LeafKind::Cake,
    ])
}

/// Has an ordinary Ethernet device stand in for each that is not here.
fn stood_in(policy: &Policy, mut facts: Facts, assumed: &mut Vec<String>) -> Facts {
    // From the last one down: the kernel counts up.
    let mut index = u32::MAX;
    for (name, who) in missing(policy, &facts) {
        let device = Device {
            index,
            mtu: 1_500,
            header: 14,
            gso_max: 65_536,
            kind: String::new(),
            lower: None,
            master: None,
            up: true,
            priority_map: false,
            root: Root::Default {
                kind: String::new(),
            },
            edge: Edge::None,
        };
        index -= 1;
        if facts.devices.insert(name.clone(), device).is_none() {
            assumed.push(format!(
                "{name} ({who}) is not here: taken for Ethernet with packets of 1500 bytes"
            ));
        }
    }
    facts
}

/// The numbers of classes: those that this host gave already, so that what is printed is what is loaded.
fn numbers(global: &Global, assumed: &mut Vec<String>) -> Ids {
    let read = || -> Result<Option<Ids>, Failure> {
        let store = Store::read(&place::state(global)?)?;
        Ok(store.as_ref().map(Store::ids).transpose()?)
    };
    match read() {
        Ok(ids) => ids.unwrap_or_default(),
        Err(failure) => {
            tracing::debug!(%failure, "the store is not read");
            let why = "class numbers are those of a host with no history: its own cannot be read";
            assumed.push(why.to_owned());
            Ids::default()
        }
    }
}

/// What only time will tell.
fn of_time(engine: &Engine) -> Vec<String> {
    let policy = engine.policy();
    let Some(phase) = policy.phases().get(engine.phase()) else {
        return Vec::new();
    };
    let mut assumed = Vec::new();
    match &phase.requires {
        Some(condition) => assumed.push(format!(
            "condition {condition} is true, as the phase requires; no other is"
        )),
        None if policy.conditions().is_empty() => {}
        None => assumed.push("no condition is true yet".to_owned()),
    }
    for name in engine.goal().blocks.keys() {
        let Some(block) = policy.blocks().get(name) else {
            continue;
        };
        if block.schedule.is_some() {
            assumed.push(format!("it is one of the hours of block {name}"));
        }
        match block.established {
            Established::Cut => {}
            Established::Drain(_) => {
                assumed.push(format!("block {name} has begun: what is open may go on"));
            }
        }
    }
    assumed
}

/// Traffic control, as a shell script.
fn shaping(lowered: &Lowered, facts: &Facts, rendered: &mut Rendered) -> String {
    let script = tc::script::script(&lowered.state, &lowered.names, &facts.devices);
    rendered.unsaid = script.unsaid;
    let mut text = "#!/bin/sh\n".to_owned();
    let rules = format!("wanshift render nft --phase {}", rendered.phase);
    remark(&mut text, rendered, &format!("Rules first: {rules}"));
    let _ = write!(
        text,
        "set -e\n{}tc -batch - <<'END'\n{}END\n",
        script.links, script.batch
    );
    text
}

/// The packet filter, as a file for `nft -f`.
fn rules(lowered: &Lowered, rendered: &Rendered) -> String {
    let mut text = "#!/usr/sbin/nft -f\n".to_owned();
    let how = format!(
        "Classes are made by: wanshift render tc --phase {}",
        rendered.phase
    );
    remark(&mut text, rendered, &how);
    text.push_str(&nft::render(None, lowered.state.table.as_ref()));
    text
}

/// What stands at the top, as remarks.
fn remark(text: &mut String, rendered: &Rendered, how: &str) {
    let Rendered {
        host,
        phase,
        assumed,
        unsaid,
        ..
    } = rendered;
    let _ = writeln!(
        text,
        "# {host}, phase {phase}: what wanshift loads where nothing of it is yet.\n# {how}"
    );
    for (what, lines) in [
        ("Taken to be so:", assumed),
        ("What tc cannot say as it is:", unsaid),
    ] {
        if !lines.is_empty() {
            let _ = writeln!(text, "#\n# {what}");
        }
        for line in lines {
            let _ = writeln!(text, "# - {line}");
        }
    }
    text.push('\n');
}
