use super::*;

#[test]
fn other_ways_to_say_a_thing_are_the_same() {
    let of = |rule: &str| rule::parse(&tokens(rule)).expect("a rule that is understood");
    for [one, other] in [
        [
            "meta l4proto tcp th dport 22 return",
            "tcp dport 0x16 return",
        ],
        ["meta l4proto 6 tcp dport 22 return", "tcp dport 22 return"],
        [
            "ip dscp { ef, af41 } return",
            "ip dscp { 0x22, 0x2e } return",
        ],
        [
            "ct state invalid,untracked return",
            "ct state { 0x40, 0x1 } return",
        ],
        [
            "ct state 0x1,0x40 return",
            "ct state { untracked, invalid } return",
        ],
        [
            "ct original ip saddr { 10.0.0.0/24, 10.0.1.0/24 } return",
            "ct original ip saddr 10.0.0.0/23 return",
        ],
        ["meta priority set 7a01:15", "meta priority set 0x7a010015"],
        ["meta priority set 7a01:15", "meta priority set 7a01:0015"],
        ["fib saddr type local return", "fib saddr type 2 return"],
        [
            "fib saddr . oif type local return",
            "fib saddr . oif type 2 return",
        ],
        [
            "meta nfproto ipv4 ct original ip saddr 10.0.0.1 return",
            "ct original ip saddr 10.0.0.1 counter packets 1 bytes 2 return",
        ],
        [
            "meta mark set meta mark & 0x0000ffff | 0x00150000",
            "meta mark set meta mark & 0x0015ffff | 0x00150000",
        ],
        [
            "meta mark set 0x15",
            "meta mark set meta mark & 0x00000015 | 0x00000015",
        ],
        [
            "ct direction original ip dscp ef ct label set 110",
            "ct direction 0 ip dscp 0x2e ct label set 0x6e",
        ],
        [
            "meta mark & 0xffff0000 != 0x00000000 return",
            "meta mark != 0x00000000/16 return",
        ],
        [
            "ct direction reply ct label 110 return",
            "ct direction 1 ct label 0x6e return",
        ],
        [
            "ct direction reply ct reply ip saddr vmap @a",
            "ct direction 1 meta nfproto ipv4 ct reply ip saddr vmap @a",
        ],
        [
            "ct state { invalid, untracked } ip6 saddr vmap @a",
            "ct state untracked,invalid meta nfproto 10 ip6 saddr vmap @a",
        ],
        ["meta mark 0x7 return", "meta mark & 0xffffffff == 7 return"],
        [
            "meta l4proto 58 icmpv6 type nd-neighbor-solicit return",
            "icmpv6 type 135 return",
        ],
    ] {
        assert_eq!(of(one), of(other), "{one} / {other}");
    }
}

#[test]
fn what_means_something_else_is_not_ours() {
    for rule in [
        "ct original ip saddr != 10.0.0.1 return",
        "tcp dport 22 drop",
        "tcp dport 22 udp dport 22 return",
        "ip dscp ef ip dscp af41 return",
        "limit rate 64 kbytes/second burst 64 kbytes tcp dport 22 return",
        "limit rate over 64 kbytes/second burst 64 kbytes return",
        "oifname vmap { \"a\" : goto b.c }",
        "meta priority set 1:2",
        "meta mark set 0xffff0000",
        "meta mark set meta mark",
        "meta mark set meta mark ^ 0x00150000",
        "meta mark set meta mark & 0x0f0fffff",
        "meta mark set meta mark | 0x00150001",
        "meta mark set ct mark",
        "ct mark set meta mark",
        "ct mark set ct mark & 0x0000ffff",
        "ct mark & 0xffff0000 == 0x006e0000 return",
        "ct label set 62",
        "ct label set 128",
        "ct label set bulk",
        "ct label bulk return",
        "ct label != 110 return",
        "ct label { } return",
        "ct reply ip daddr vmap @a",
        "ct original ip daddr vmap @a",
        "meta mark & 0xffff0000 == 0x00000001 return",
        "meta mark & 0xf0f00000 == 0x00000000 return",
        "meta mark 0x10-0x20 return",
        "meta mark != { 0x1, 0x2 } return",
        "meta mark 0x00000000/33 return",
        "iifname \"a*\" return",
        "iifname != \"a\" return",
        "counter name \"blocked.a\" meta l4proto 6 reject with tcp reset",
        "counter name \"blocked.a\" reject with icmpx 1",
        "counter name \"blocked.a\" drop",
        "fib saddr . iif type local return",
        "oifname . iifname vmap @arrivals",
        "counter packets 0 bytes 0",
    ] {
        assert_eq!(rule::parse(&tokens(rule)), None, "{rule}");
    }
}
