//! Flow tables, anybody's: what takes connections past the packet filter.

use super::run::RunError;
use super::{ask, complaint};
use crate::kernel::KernelError;
use crate::model::surroundings::Flowtable;

/// Reads all flow tables.
///
/// # Errors
/// Where `nft` cannot be run, or may not look.
pub fn flowtables() -> Result<Vec<Flowtable>, KernelError> {
    let failed = |why: String| KernelError::Nft { why };
    let output =
        ask(&["list", "flowtables"]).map_err(|error: RunError| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(complaint(&output, "")));
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Reads `nft`'s text, of which nothing else is asked than tables, flow tables and their devices; names may stand
/// between quotes, as younger versions write them.
fn parse(text: &str) -> Vec<Flowtable> {
    let spaced: String = text
        .chars()
        .flat_map(|c| match c {
            '{' | '}' => [' ', c, ' '],
            ',' | '"' | ';' => [' '; 3],
            _ => ['\0', c, '\0'],
        })
        .filter(|c| *c != '\0')
        .collect();
    let mut words = spaced.split_whitespace().peekable();
    let mut table = String::new();
    let mut found: Vec<Flowtable> = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "table" => {
                let name: Vec<&str> = words.by_ref().take_while(|word| *word != "{").collect();
                table = name.join(" ");
            }
            "flowtable" => found.push(Flowtable {
                table: table.clone(),
                name: words.next().unwrap_or_default().to_owned(),
                devices: Vec::new(),
            }),
            "devices" if words.next_if_eq(&"=").is_some() => {
                words.next_if_eq(&"{");
                let devices = words.by_ref().take_while(|word| *word != "}");
                if let Some(flowtable) = found.last_mut() {
                    flowtable.devices.extend(devices.map(str::to_owned));
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_read_with_its_devices() {
        let text = "table inet fw {\n\tflowtable fast {\n\t\thook ingress priority filter\n\
                    \t\tdevices = { lan0, wan0 }\n\t\tflags offload\n\t}\n\n\
                    \tflowtable idle {\n\t\thook ingress priority filter + 5\n\t}\n}\n\
                    table ip6 devices {\n\tflowtable table {\n\t\thook ingress priority 0\n\
                    \t\tdevices = { \"eth0.7\",\n\t\t\t\"ppp*\" }\n\t}\n}\n";
        let told: Vec<String> = parse(text)
            .iter()
            .map(|one| format!("{} {} {}", one.table, one.name, one.devices.join(" ")))
            .collect();
        let expected = [
            "inet fw fast lan0 wan0",
            "inet fw idle ",
            "ip6 devices table eth0.7 ppp*",
        ];
        assert_eq!(told, expected);
        let takes = |device: &str| parse(text)[2].takes_at(&device.parse().unwrap());
        assert!(takes("ppp1") && takes("eth0.7") && !takes("eth0"));
        assert!(parse("").is_empty() && parse("table inet x {\n}\n").is_empty());
    }
}
