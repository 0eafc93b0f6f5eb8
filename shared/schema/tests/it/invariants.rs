//! Invariants that hold for any text that is given as a contract; a broken one panics. The property tests and the fuzz target `contract`
//! check them.

use pinlake_schema::{Catalog, KEY_COLUMN, StreamRoute};

const FILE: &str = "datasets/other.toml";
const OTHER_CONTRACTS: [(&str, &str); 2] = [
    ("datasets/geo.toml", include_str!("../../../../datasets/geo.toml")),
    ("datasets/user.toml", include_str!("../../../../datasets/user.toml")),
];

fn read(text: &str) -> Result<Catalog, pinlake_schema::ContractErrors> {
    let own = [(FILE.to_owned(), text.to_owned())];
    Catalog::from_files(
        own.into_iter().chain(OTHER_CONTRACTS.map(|(name, text)| (name.to_owned(), text.to_owned()))),
    )
}

/// Any text is a contract, or has errors that are reported with their place. A comment at the end does not change the hashes of a contract.
pub fn contract(text: &str) {
    match read(text) {
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            let shown = errors.to_string();
            for error in &errors.errors {
                let of = match error.file.as_str() {
                    FILE => text,
                    other => {
                        OTHER_CONTRACTS
                            .iter()
                            .find(|(name, _)| *name == other)
                            .expect("a file that was read")
                            .1
                    }
                };
                let line = of.split('\n').nth(error.line - 1).expect("a line of the file");
                let line = line.strip_suffix('\r').unwrap_or(line);
                let characters = line.chars().count();
                assert!((1..=characters + 2).contains(&error.column), "{error:?}");
                assert!(
                    error.excerpt.is_empty() || error.excerpt == line.trim_end_matches('\r'),
                    "{error:?}"
                );
                assert!(error.width >= 1 && !error.problem.is_empty() && !error.help.is_empty(), "{error:?}");
                assert!(shown.contains(&format!("--> {}:{}:{}\n", error.file, error.line, error.column)));
            }
        }
        Ok(catalog) => {
            let again = read(&format!("{text}\n# the end\n")).expect("a comment changes nothing");
            for contract in catalog.contracts() {
                let same = again.contract(&contract.name).expect("the same datasets");
                assert_eq!(same.hash(), contract.hash());
                assert_eq!(same.identity_hash(), contract.identity_hash());
                let schema = contract.arrow_schema();
                let fields = schema.fields();
                let names: std::collections::BTreeSet<String> =
                    fields.iter().map(|field| field.name().to_lowercase()).collect();
                assert_eq!(names.len(), contract.columns.len(), "column names are unique");
                assert!(!names.contains(KEY_COLUMN));
                let keys = 1 + usize::from(contract.former_identity_hash().is_some());
                assert_eq!(contract.landing_schema().fields().len(), fields.len() + keys);
                let stored = usize::from(contract.stores_keys());
                assert_eq!(contract.table_schema().fields().len(), fields.len() + stored);
                // A name that matches a pattern is routed to the contract with the pattern.
                for (pattern, of) in patterns(contract) {
                    let name = pattern.replace('*', "x");
                    let found = match of {
                        Named::Topic => catalog.route_topic(&name),
                        Named::Stream => match catalog.route_stream(&name) {
                            StreamRoute::Dataset(contract) => Some(contract),
                            _ => None,
                        },
                        Named::Key => catalog.route_partition_key(pattern),
                    };
                    assert_eq!(found.map(|found| &found.name), Some(&contract.name), "{pattern}");
                }
            }
        }
    }
}

enum Named {
    Topic,
    Stream,
    Key,
}

fn patterns(contract: &pinlake_schema::Contract) -> impl Iterator<Item = (&str, Named)> {
    let route = &contract.route;
    let topics = route.topics.iter().map(|text| (text.as_str(), Named::Topic));
    let streams = route.streams.iter().map(|text| (text.as_str(), Named::Stream));
    topics.chain(streams).chain(route.partition_keys.iter().map(|text| (text.as_str(), Named::Key)))
}
