//! How long the packet filter's table of 10,000 sites takes to load: whole by `nft -f`, and as wanshift
//! loads it, in two transactions.

use std::collections::BTreeSet;

use wanshift::engine::Engine;
use wanshift::kernel::{Host, Kernel, Scope, nft};
use wanshift::lower::{Facts, lower};
use wanshift::model::ids::Ids;
use wanshift::model::state::LeafKind;
use wanshift::policy::{Source, read};

use crate::Bench;
use crate::forwarding::{HOST, SITES, policy};
use crate::lab::Lab;
use crate::samples::{in_turn, time};
use crate::sheet::{Bar, Figure};

const ROUNDS: usize = 7;

pub fn run(bench: &mut Bench) {
    let lab = Lab::new();
    let source = |name: &str, text: &str| Source {
        name: name.into(),
        text: text.into(),
    };
    let policy = [
        source("host.toml", HOST),
        source("sites.toml", &policy(SITES)),
    ];
    let policy = std::sync::Arc::new(read(&policy).unwrap());
    let engine = Engine::holding(policy.clone(), policy.start().clone()).unwrap();
    let [plain, ours, reading] = lab.edge().enter(|| {
        let observed = Host::open().unwrap().observe(Scope::Shaping).unwrap();
        let facts = Facts::of(&observed, BTreeSet::from([LeafKind::Pfifo]));
        let lowered = lower(&policy, &engine.goal(), &facts, &mut Ids::default()).unwrap();
        let table = lowered.state.table.unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, nft::render(None, Some(&table))).unwrap();
        in_turn::<3>(ROUNDS, |which| {
            let seconds = match which {
                0 => {
                    let path = file.path().to_str().unwrap();
                    let mut nft = std::process::Command::new("nft");
                    let (seconds, status) = time(|| nft.args(["-f", path]).status());
                    assert!(status.unwrap().success());
                    seconds
                }
                1 => {
                    let (seconds, done) = time(|| nft::apply(None, Some(&table)));
                    done.unwrap();
                    seconds
                }
                _ => {
                    nft::apply(None, Some(&table)).unwrap();
                    let (seconds, read) = time(nft::read);
                    assert!(read.unwrap().as_ref() == Some(&table), "another table");
                    seconds
                }
            };
            nft::apply(Some(&table), None).unwrap();
            seconds
        })
    });
    let sheet = &mut bench.sheet;
    sheet.row(
        "loaded whole, nft -f",
        Figure::seconds(plain.median()),
        Bar::AtMost(1.0),
    );
    sheet.row(
        "loaded by wanshift, two transactions",
        Figure::seconds(ours.median()),
        Bar::None,
    );
    sheet.row(
        "read back by wanshift",
        Figure::seconds(reading.median()),
        Bar::None,
    );
}
