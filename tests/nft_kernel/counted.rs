//! What blocks rejected, read from the kernel.

use std::collections::BTreeMap;

use wanshift::kernel::{Host, Kernel};
use wanshift::model::names::BlockName;

use super::namespace::{inside, nft as script, run};

fn expected(blocks: &[(&str, u64)]) -> BTreeMap<BlockName, u64> {
    let block = |(name, packets): &(&str, u64)| (name.parse().unwrap(), *packets);
    blocks.iter().map(block).collect()
}

#[test]
fn rejections_are_read_as_nft_lists_them() {
    inside(|| {
        let mut host = Host::open().unwrap();
        assert_eq!(host.rejected().unwrap(), expected(&[]), "no table");
        script(
            "table inet wanshift {
               counter blocked.browsing { packets 5000000000 bytes 7 }
               counter blocked.web { packets 0 bytes 0 }
               counter blocked.mail { packets 1 bytes 60 }
               counter theirs { packets 9 bytes 9 }
               quota blocked.quota { over 5 mbytes }
             }
             table inet other { counter blocked.games { packets 3 bytes 3 }; }
             table ip wanshift { counter blocked.games { packets 3 bytes 3 }; }",
        );
        let all = expected(&[("browsing", 5_000_000_000), ("mail", 1), ("web", 0)]);
        assert_eq!(host.rejected().unwrap(), all);

        // As many as there is room for in several datagrams of the kernel's.
        let many: String = (0..500)
            .map(|n| {
                format!("add counter inet wanshift blocked.b{n} {{ packets {n} bytes {n}; }}\n")
            })
            .collect();
        script(&many);
        let found = host.rejected().unwrap();
        assert_eq!(found.len(), 503);
        assert_eq!(found[&"b499".parse::<BlockName>().unwrap()], 499);

        run("nft", &["flush", "ruleset"]);
        assert_eq!(host.rejected().unwrap(), expected(&[]), "flushed");
    });
}
