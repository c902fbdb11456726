//! Forwarding with 10,000 sites against one, and against none: the same packets through three labs in
//! turn, all of them standing at once.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::Bench;
use crate::edge::{ALWAYS, Edge};
use crate::generator::{Flow, Generator, first_on_one_cpu, receive_where_sent};
use crate::lab::{Lab, sleep};
use crate::samples::{Samples, in_turn, time};
use crate::sheet::{Bar, Figure, Sheet};

/// The sites, each a /24 of 10.128.0.0/9.
pub const SITES: u32 = 10_000;
const ROUNDS: usize = 25;
const SLICE: u64 = 120_000_000;

/// One circuit; capacities far above, since what is measured is the way to a class.
pub const HOST: &str = "name = \"edge\"\ninside = [\"lan0\"]\n\
                        [circuit.mpls]\ndevice = \"mpls0\"\ncapacity = \"200gbit\"\n";

/// So many sites, that together are always the same addresses.
pub fn policy(sites: u32) -> String {
    let mut text = ALWAYS.to_owned();
    for site in 0..sites {
        let prefix = if sites == 1 {
            "10.128.0.0/9".to_owned()
        } else {
            format!("10.{}.{}.0/24", 128 + site / 256, site % 256)
        };
        text.push_str(&format!(
            "[site.s{site}]\ncircuit = \"mpls\"\nprefixes = [\"{prefix}\"]\n\
             capacity = \"100gbit\"\nguarantee = \"{}mbit\"\n",
            (160_000 / sites).min(80_000)
        ));
    }
    text
}

type MakeGenerator = fn(&Lab, u32) -> Generator;

pub fn run(bench: &mut Bench) {
    let many = Edge::new(bench, HOST, &policy(SITES));
    let (first_apply, _) = time(|| many.wanshift(&["apply"]));
    let (second_apply, _) = time(|| many.wanshift(&["apply"]));
    let one = Edge::new(bench, HOST, &policy(1));
    one.wanshift(&["apply"]);
    let none = Lab::new();
    let labs = [&one.lab, &many.lab, &none];
    for lab in labs {
        prepare(lab);
    }
    let sheet = &mut bench.sheet;
    sheet.row(
        "first wanshift apply, 2 x 10,000 classes made",
        Figure::seconds(first_apply),
        Bar::None,
    );
    sheet.row(
        "second wanshift apply, nothing to do",
        Figure::seconds(second_apply),
        Bar::None,
    );
    let ways: [(&str, MakeGenerator); 2] = [("up", up), ("down", down)];
    for (way, generator) in ways {
        for (spread, what) in [(SITES, "all sites"), (1, "one site")] {
            let mut generators = labs.map(|lab| generator(lab, spread));
            let samples = in_turn::<3>(ROUNDS, |which| slice(&mut generators[which]));
            tell(sheet, &format!("{way}, {what}"), &samples);
        }
    }
    sheet.remark(
        "All sites: each packet is another site's, so class, queue and chain are in no cache; one site: \
         packets to one of 10,000. Generator and both ends are in the figures, on one CPU.",
    );
}

fn slice(generator: &mut Generator) -> f64 {
    let rate = first_on_one_cpu(|| {
        // The first packets open connections, where they are not open yet.
        generator.run(SLICE / 4);
        generator.run(SLICE)
    });
    // The others' turn.
    sleep(Duration::from_millis(30));
    assert!(rate > 0.0, "nothing arrived");
    rate
}

fn tell(sheet: &mut Sheet, what: &str, [one, many, none]: &[Samples; 3]) {
    let against = many.of(one);
    sheet.row(
        &format!("{what}: 10,000 against 1"),
        Figure::percent(against.median()),
        Bar::AtLeast(95.0),
    );
    sheet.spread(
        Figure::percent(against.quantile(0.25)),
        Figure::percent(against.quantile(0.75)),
        against.len(),
    );
    sheet.row(
        &format!("{what}: 10,000 against no wanshift"),
        Figure::percent(many.of(none).median()),
        Bar::None,
    );
    for (sites, samples) in [("10,000", many), ("1", one), ("none", none)] {
        sheet.row(
            &format!("{what}: packets a second, {sites}"),
            Figure::thousands(samples.median()),
            Bar::None,
        );
    }
}

/// Routes to sites and to inside, and hosts that answer nothing.
fn prepare(lab: &Lab) {
    for namespace in lab.all() {
        receive_where_sent(namespace);
    }
    let route = |namespace: &crate::lab::Namespace, words: &str| {
        let mut arguments = vec!["route", "add"];
        arguments.extend(words.split(' '));
        namespace.run("ip", &arguments);
    };
    route(lab.edge(), "10.128.0.0/9 via 10.77.255.2");
    route(lab.edge(), "10.78.0.0/16 via 10.77.0.2");
    route(lab.provider(), "blackhole 10.128.0.0/9");
    route(lab.datacentre(), "blackhole 10.78.0.0/16");
}

/// As many as there are sites; of those that the packets go to one after another, no two are neighbours.
fn stations(spread: u32) -> impl Iterator<Item = [Ipv4Addr; 2]> {
    (0..SITES).map(move |number| {
        let scattered = number * 7_919 % SITES;
        let (site, host) = (scattered % spread, scattered / spread % 200);
        let site = [10, 128 + site / 256, site % 256, 1 + host];
        let [a, b, c, d] = site.map(|byte| byte as u8);
        let inside = Ipv4Addr::new(10, 78, (number / 250) as u8, (1 + number % 250) as u8);
        [Ipv4Addr::new(a, b, c, d), inside]
    })
}

fn up(lab: &Lab, spread: u32) -> Generator {
    let flows = stations(spread).map(|[target, source]| Flow { source, target });
    let edge = (lab.edge(), "lan0");
    Generator::new(lab.datacentre(), edge, lab.provider(), flows)
}

fn down(lab: &Lab, spread: u32) -> Generator {
    let flows = stations(spread).map(|[source, target]| Flow { source, target });
    let edge = (lab.edge(), "mpls0");
    Generator::new(lab.provider(), edge, lab.datacentre(), flows)
}
