//! `wanshift explain`: which class and which block a connection meets, and why. Writes nothing, needs no root.

use std::net::IpAddr;
use std::sync::Arc;

use clap::Args;

use super::output::Output;
use super::present::Present;
use super::{Global, OpenKernel};
use crate::api::{Failure, Talk};
use crate::check::surroundings::is_of;
use crate::executor::survey::learn;
use crate::explain::{Asked, Explanation, Path, Side, World, explain as answers, possible, text};
use crate::keeper::files::wrong;
use crate::kernel::{Kernel, KernelError, Route, Scope};
use crate::load::{Choice, Trust, load};
use crate::lower::rules;
use crate::model::names::{CircuitName, PhaseName};
use crate::model::state::KernelState;
use crate::policy::{Policy, read};

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Who opens the connection: an address, a prefix, or the name of a group or site
    #[arg(value_name = "SRC")]
    from: String,
    /// Who is asked, likewise; as the one who asks writes it, before any translation
    #[arg(value_name = "DST")]
    to: String,
    /// For what: a service of the policy, tcp/443, udp/3478 or icmp
    #[arg(value_name = "SERVICE")]
    service: String,
    /// How the packets of who opens it are marked: ef, af41, 46
    #[arg(long, value_name = "POINT")]
    dscp: Option<String>,
    /// Ask about this phase, instead of the one that holds
    #[arg(long, value_name = "NAME")]
    phase: Option<PhaseName>,
    /// Take it to go over this circuit, instead of asking the routes of this host
    #[arg(long, value_name = "NAME")]
    circuit: Option<CircuitName>,
}

pub fn explain(
    global: &Global,
    args: &ExplainArgs,
    open: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let policy = Arc::new(files(global, output)?);
    let point = args.dscp.as_deref();
    let asked = Asked::read(&policy, &args.from, &args.to, &args.service, point)?;
    let mut present = Present::of(global, &policy, output)?;
    let chosen = present.choose(&policy, args.phase.as_ref())?;
    let Present {
        mut ids, mut notes, ..
    } = present;

    let mut kernel = here(&policy, open);
    let held = kernel.as_mut().and_then(|kernel| look(kernel.as_mut()));
    if let Some(held) = &held {
        learn(&mut ids, &policy, held);
    }
    let (desired, reasons) = (chosen.engine.goal(), chosen.engine.reasons());
    let (table, _) = rules(&policy, &desired, &mut ids)?;
    let held = held.filter(|_| chosen.holds);
    if let Some(loaded) = held.as_ref().and_then(|held| held.table.as_ref())
        && *loaded != table
    {
        notes.push(
            "the packet filter does not hold what the files say for this phase; see `wanshift plan`"
                .to_owned(),
        );
    }

    let ends = [asked.from.address, asked.to.address];
    let paths = paths(
        &policy,
        args.circuit.as_ref(),
        ends,
        kernel.as_mut(),
        &mut notes,
    )?;
    let world = World {
        policy: &policy,
        desired: &desired,
        reasons: &reasons,
        table: &table,
        ids: &ids,
        held: held.as_ref(),
    };
    let explanation = Explanation {
        answers: answers(&world, &asked, &paths),
        from: asked.from,
        to: asked.to,
        service: args.service.clone(),
        service_at: asked.service.at,
        dscp: args.dscp.clone(),
        phase: desired.phase.clone(),
        phase_known: chosen.why,
        notes,
    };
    for note in &explanation.notes {
        output.say(&format!("note: {note}"));
    }
    output.result(&explanation, &text(&explanation))?;
    Ok(0)
}

/// The policy of the files: whoever may read them may ask.
fn files(global: &Global, output: &Output<'_>) -> Result<Policy, Failure> {
    let style = output.style();
    let choice = Choice::Directory(global.config().to_owned());
    let loaded = load(&choice, Trust::Read).map_err(|faults| wrong(&faults, &[], &[], style))?;
    read(&loaded.sources).map_err(|faults| wrong(&faults, &loaded.sources, &loaded.notes, style))
}

/// The kernel, where this host is the policy's and can be looked at.
fn here(policy: &Policy, open: OpenKernel<'_>) -> Option<Box<dyn Kernel>> {
    let looked = open().and_then(|mut kernel| {
        let around = kernel.surroundings()?;
        Ok(is_of(policy, &around).then_some(kernel))
    });
    looked
        .inspect_err(|error| tracing::debug!(%error, "this host is not looked at"))
        .ok()
        .flatten()
}

/// What the kernel holds; without the packet filter where that may not be read.
fn look(kernel: &mut dyn Kernel) -> Option<KernelState> {
    let all = kernel.observe(Scope::All);
    let seen = all.or_else(|error| {
        tracing::debug!(%error, "the packet filter is not looked at");
        kernel.observe(Scope::Shaping)
    });
    seen.ok().map(|observed| observed.state)
}

/// The ways that a connection between `ends` may go: the one that the routes of this host give, else all that the
/// policy allows.
fn paths(
    policy: &Policy,
    over: Option<&CircuitName>,
    [from, to]: [IpAddr; 2],
    kernel: Option<&mut Box<dyn Kernel>>,
    notes: &mut Vec<String>,
) -> Result<Vec<Path>, Failure> {
    if let Some(over) = over {
        if !policy.circuits().contains_key(over) {
            let known: Vec<String> = policy
                .circuits()
                .keys()
                .map(|name| format!("`{name}`"))
                .collect();
            return Err(format!(
                "there is no circuit `{over}`; the policy has {}",
                known.join(", ")
            )
            .into());
        }
        let paths = possible(policy, from, to, Some(over));
        if paths.is_empty() {
            return Err(
                format!("it does not go over circuit `{over}`: a site is behind its own").into(),
            );
        }
        return Ok(paths);
    }
    let Some(kernel) = kernel else {
        notes.push("this is not the policy's host: no routes are asked".to_owned());
        return Ok(possible(policy, from, to, None));
    };
    match routed(kernel.as_mut(), from, to)? {
        Ok(path) => Ok(vec![path]),
        Err(nowhere) => {
            notes.push(format!(
                "this host has no route to {nowhere}: told for each circuit"
            ));
            Ok(possible(policy, from, to, None))
        }
    }
}

/// The way that the routes give; else the end to which there is none.
fn routed(
    kernel: &mut dyn Kernel,
    from: IpAddr,
    to: IpAddr,
) -> Result<Result<Path, IpAddr>, KernelError> {
    let side = |route: Route| match route {
        Route::Here => Some(Side::Here),
        Route::Out(device) => Some(Side::Beyond(Some(device))),
        Route::Nowhere => None,
    };
    let Some(source) = side(kernel.route(None, from)?) else {
        return Ok(Err(from));
    };
    let Some(target) = side(onward(kernel, &source, from, to)?) else {
        return Ok(Err(to));
    };
    let back = match side(onward(kernel, &target, to, from)?) {
        Some(Side::Beyond(device)) => device,
        Some(Side::Here) | None => None,
    };
    Ok(Ok(Path {
        back: back.filter(|back| source.device() != Some(back)),
        from: source,
        to: target,
    }))
}

/// Where packets go that come from one end, which is there, to the other. Where the kernel would not forward them as
/// things are, where it would send its own.
fn onward(
    kernel: &mut dyn Kernel,
    source: &Side,
    from: IpAddr,
    to: IpAddr,
) -> Result<Route, KernelError> {
    let arrived = source.device().map(|device| (device, from));
    let found = match arrived {
        Some(arrived) => kernel.route(Some(arrived), to)?,
        None => kernel.way(from, to)?.map_or(Route::Nowhere, Route::Out),
    };
    match found {
        Route::Nowhere => kernel.route(None, to),
        Route::Here | Route::Out(_) => Ok(found),
    }
}
