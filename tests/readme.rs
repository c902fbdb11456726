//! What the README shows as policy files is a policy: whoever copies it starts from something that loads.

use wanshift::check::unsupported;
use wanshift::policy::{Source, Style, read, report};

/// The README's TOML, block by block; not what is shown of a file's first line.
fn blocks() -> Vec<&'static str> {
    let readme = include_str!("../README.md");
    let after = readme.split("```toml\n").skip(1);
    after
        .filter_map(|rest| rest.split_once("\n```"))
        .map(|(block, _)| block)
        .filter(|block| !block.starts_with("#:schema"))
        .collect()
}

#[test]
fn what_the_readme_shows_is_a_policy() {
    let blocks = blocks();
    assert_eq!(blocks.len(), 8, "{blocks:#?}");
    // The first policy, the same with a shift, and all of the language.
    for of in [[0, 1, 2], [3, 1, 4], [5, 6, 7]] {
        let sources: Vec<Source> = of
            .into_iter()
            .map(|block| Source {
                name: format!("block {block} of README.md").into(),
                text: blocks[block].into(),
            })
            .collect();
        match read(&sources) {
            Ok(policy) => assert_eq!(unsupported(&policy), [], "{of:?}"),
            Err(faults) => panic!("{}", report(&faults, &sources, Style::Plain, 80)),
        }
    }
}

/// All keys of the language stand in its reference, so that nobody learns of one from an error.
#[test]
fn the_readme_names_each_key_of_the_language() {
    let [.., host, promised, when] = blocks()[..] else {
        panic!("the reference is gone");
    };
    let reference = [host, promised, when].concat();
    for of in ["host", "policy"] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_wanshift"))
            .args(["schema", of])
            .output()
            .unwrap();
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut keys = Vec::new();
        keys_of(&schema, &mut keys);
        assert!(keys.len() > 10, "{keys:?}");
        for key in keys {
            assert!(reference.contains(&key), "the README does not show `{key}`");
        }
    }
}

fn keys_of(schema: &serde_json::Value, keys: &mut Vec<String>) {
    if let Some(object) = schema.as_object() {
        let properties = object.get("properties").and_then(|keys| keys.as_object());
        keys.extend(properties.into_iter().flat_map(|keys| keys.keys().cloned()));
        object.values().for_each(|value| keys_of(value, keys));
    }
    for value in schema.as_array().into_iter().flatten() {
        keys_of(value, keys);
    }
}
