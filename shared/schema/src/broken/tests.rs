use super::*;
use crate::{Catalog, StreamRoute};

const VISIT: &str = "name = \"visit\"\nversion = 1\n[route]\ntopics = [\"*.visit\"]\nstreams = [\"visits\"]\n\
                     partition_keys = [\"visit\"]\nfiles = [\"visit*\"]\nshape = [\"visitor\"]\n\
                     [[column]]\nname = \"visitor\"\ntype = \"int64\"\nfrom = [\"visitor\", \"who\"]\n";
const ORDER: &str = "name = \"order\"\nversion = 1\n[route]\ntopics = [\"*.order\"]\nshape = [\"order\"]\n\
                     [[column]]\nname = \"order\"\ntype = \"int64\"\n";

fn isolate(files: &[(&str, &[u8])]) -> Catalog {
    let file =
        |(name, bytes): &(&str, &[u8])| ContractFile { name: (*name).into(), content: Ok(bytes.to_vec()) };
    Catalog::isolate(files.iter().map(file)).unwrap()
}

fn isolate_texts(files: &[(&str, &str)]) -> Catalog {
    isolate(&files.iter().map(|(name, text)| (*name, text.as_bytes())).collect::<Vec<_>>())
}

/// The broken files, with the dataset that each stops.
fn stopped(catalog: &Catalog) -> Vec<(String, String)> {
    let describe = |own: &Arc<BrokenContract>| {
        let line = own.errors[0].line;
        (own.dataset.clone().unwrap_or_default(), format!("{}:{line}", own.file))
    };
    catalog.broken().iter().map(describe).collect()
}

fn topic(catalog: &Catalog, topic: &str) -> Option<(String, bool)> {
    catalog.route_topic(topic).map(|contract| (contract.name.clone(), contract.broken().is_some()))
}

/// A catalog of the history is parsed from its files again.
fn assert_comes_back(catalog: &Catalog) {
    let files = catalog.files().iter();
    let again = Catalog::isolate(
        files.map(|(name, text)| ContractFile { name: name.clone(), content: Ok(text.clone().into_bytes()) }),
    );
    let again = again.unwrap();
    assert_eq!(again.hash(), catalog.hash());
    let datasets = |catalog: &Catalog| {
        catalog.contracts().map(|own| (own.name.clone(), own.broken().is_some())).collect::<Vec<_>>()
    };
    assert_eq!(datasets(&again), datasets(catalog));
}

/// Otherwise a document that arrives meanwhile would be one record, which no repaired contract accepts.
#[test]
fn a_broken_contract_keeps_the_path_to_its_records() {
    let visit =
        VISIT.replace("[[column]]", "[file]\nrecords = \"Records[]\"\n[[column]]").replace("int64", "int");
    let catalog = isolate_texts(&[("visit.toml", &visit)]);
    let contract = catalog.contract("visit").unwrap();
    assert!(contract.broken().is_some());
    assert_eq!(contract.file.records.as_ref().map(|path| path.as_str()), Some("Records[]"));
}

#[test]
fn valid_files_give_the_same_catalog_as_without_isolation() {
    let files = [("order.toml", ORDER), ("visit.toml", VISIT)];
    let strict = Catalog::from_files(files.map(|(name, text)| (name.to_owned(), text.to_owned()))).unwrap();
    let lenient = isolate_texts(&files);
    assert_eq!((lenient.hash(), lenient.files()), (strict.hash(), strict.files()));
    assert!(lenient.broken().is_empty() && lenient.contracts().all(|contract| contract.broken().is_none()));
    let embedded = Catalog::embedded().unwrap();
    let files = embedded
        .files()
        .iter()
        .map(|(name, text)| ContractFile { name: name.clone(), content: Ok(text.clone().into_bytes()) });
    assert_eq!(Catalog::isolate(files).unwrap().hash(), embedded.hash());
}

#[test]
fn a_broken_contract_keeps_its_name_and_routes_whatever_is_wrong() {
    let wrong_type = VISIT.replace("\"int64\"", "\"int\"");
    let no_columns = VISIT.split("[[column]]").next().unwrap().to_owned();
    let open_string = VISIT.replace("type = \"int64\"", "type = \"int64");
    let open_table = VISIT.replace("[[column]]", "[[column");
    let not_toml_at_the_end = format!("{VISIT}\n???\n");
    let large = format!("{VISIT}# {}\n", "x".repeat(MAX_FILE_BYTES));
    let not_utf8 = [VISIT.as_bytes(), b"description = \"\xff\"\n"].concat();
    for (text, line) in [
        (wrong_type.as_bytes(), 11),
        (no_columns.as_bytes(), 1),
        (open_string.as_bytes(), 11),
        (open_table.as_bytes(), 9),
        (not_toml_at_the_end.as_bytes(), 14),
        (large.as_bytes(), 1),
        (&not_utf8, 13),
    ] {
        let catalog = isolate(&[("a/order.toml", ORDER.as_bytes()), ("a/x.toml", text)]);
        let found = stopped(&catalog);
        assert_eq!(
            found,
            [("visit".to_owned(), format!("a/x.toml:{line}"))],
            "{}",
            String::from_utf8_lossy(text)
        );
        assert_eq!(topic(&catalog, "eu.visit"), Some(("visit".to_owned(), true)));
        assert_eq!(topic(&catalog, "eu.order"), Some(("order".to_owned(), false)));
        assert_eq!(catalog.route_partition_key("visit").map(|own| own.name.as_str()), Some("visit"));
        assert!(matches!(catalog.route_stream("visits"), StreamRoute::Dataset(own) if own.name == "visit"));
        let visit = catalog.contract("visit").unwrap();
        assert_eq!(visit.route.shape, ["visitor"]);
        assert!(visit.columns.is_empty() && visit.top_level_fields().iter().any(|field| field == "visitor"));
        assert_comes_back(&catalog);
        let valid = isolate_texts(&[("a/order.toml", ORDER), ("a/x.toml", VISIT)]);
        assert_ne!(catalog.hash(), valid.hash());
        assert_ne!(visit.hash(), valid.contract("visit").unwrap().hash());
        assert_ne!(visit.identity_hash(), valid.contract("visit").unwrap().identity_hash());
    }
}

#[test]
fn a_file_without_a_name_stops_the_dataset_of_its_own_name() {
    for (file, text, dataset) in [
        ("visit.toml", "", "visit"),
        ("visit.toml", "\0\0", "visit"),
        ("Page-Visit.toml", "name = \"Page Visit\"\nversion = 1\n", "page_visit"),
        ("9.toml", "version = 1\n", ""),
        ("order.toml", "version = 1\n", "order"),
    ] {
        let catalog = isolate_texts(&[(file, text)]);
        assert_eq!(stopped(&catalog)[0].0, dataset, "{file} {text}");
        assert_comes_back(&catalog);
    }
    let catalog = isolate(&[("visit.toml", b"\xff\xfe")]);
    assert_eq!(topic(&catalog, "eu.visit"), Some(("visit".to_owned(), true)));
    assert_eq!(catalog.route_file("in/visit-1.csv").map(|own| own.name.as_str()), Some("visit"));
    assert_comes_back(&catalog);
    // Another contract has the name, or the routes that are guessed.
    let taken = isolate_texts(&[("a.toml", VISIT), ("visit.toml", "version = 1\n")]);
    assert_eq!(stopped(&taken)[0].0, "");
    assert!(taken.contract("visit").unwrap().broken().is_none());
    let overlapping = VISIT.replace("*.visit", "*");
    let taken = isolate_texts(&[("a.toml", &overlapping), ("page.toml", "")]);
    assert_eq!(topic(&taken, "eu.page"), Some(("visit".to_owned(), false)));
    let file = ContractFile { name: "visit.toml".to_owned(), content: Err("access denied".to_owned()) };
    let catalog = Catalog::isolate([file]).unwrap();
    assert!(catalog.broken()[0].to_string().starts_with("visit.toml:1: access denied; "));
}

#[test]
fn of_two_contracts_that_overlap_the_broken_one_has_what_both_claim() {
    let narrow = ORDER.replace("*.order", "eu.*");
    let catalog = isolate_texts(&[("a.toml", VISIT), ("b.toml", &narrow)]);
    assert_eq!(stopped(&catalog), [("order".to_owned(), "b.toml:4".to_owned())]);
    assert_eq!(topic(&catalog, "eu.visit"), Some(("order".to_owned(), true)), "contested");
    assert_eq!(topic(&catalog, "us.visit"), Some(("visit".to_owned(), false)));
    assert_comes_back(&catalog);
    // The one with another error is the one at fault, whatever its name.
    let wrong = narrow.replace("int64", "int");
    let catalog = isolate_texts(&[("a.toml", &wrong), ("b.toml", VISIT)]);
    assert_eq!(stopped(&catalog), [("order".to_owned(), "a.toml:4".to_owned())]);
    assert_eq!(topic(&catalog, "us.visit"), Some(("visit".to_owned(), false)));
}

#[test]
fn two_files_with_one_name_stop_their_dataset_and_no_other() {
    let other = VISIT.replace("*.visit", "*.seen").replace("visitor", "seen");
    let catalog = isolate_texts(&[("a.toml", VISIT), ("b.toml", &other), ("order.toml", ORDER)]);
    assert_eq!(stopped(&catalog), [("visit".to_owned(), "b.toml:1".to_owned())]);
    for name in ["eu.visit", "eu.seen"] {
        assert_eq!(topic(&catalog, name), Some(("visit".to_owned(), true)));
    }
    assert_eq!(topic(&catalog, "eu.order"), Some(("order".to_owned(), false)));
    assert_comes_back(&catalog);
}

#[test]
fn the_pipelines_own_files_are_replaced_by_the_built_in_ones() {
    let catalog = isolate_texts(&[
        ("quarantine.toml", "name = \"quarantine\"\nversion = 0\n"),
        ("pinlake_canary.toml", "name = \"pinlake_canary\"\n"),
        ("_other.toml", ""),
        ("_routes.toml", "shared_streams = [\"all\", \"other\"\n"),
        ("visit.toml", VISIT),
    ]);
    assert_eq!(catalog.broken().len(), 4);
    assert!(catalog.broken().iter().all(|broken| broken.dataset.is_none()));
    assert!(catalog.contracts().all(|contract| contract.broken().is_none()));
    assert!(catalog.quarantine().version >= 1 && catalog.contract(CANARY).is_some());
    assert!(matches!(catalog.route_stream("all"), StreamRoute::Shared));
    assert_comes_back(&catalog);
    let unreadable = isolate_texts(&[("_routes.toml", "???"), ("visit.toml", VISIT)]);
    assert!(matches!(unreadable.route_stream("any"), StreamRoute::Shared));
    assert!(matches!(unreadable.route_stream("visits"), StreamRoute::Dataset(_)));
    assert_comes_back(&unreadable);
    let not_utf8 = isolate(&[("_routes.toml", b"\xff"), ("visit.toml", VISIT.as_bytes())]);
    assert!(matches!(not_utf8.route_stream("any"), StreamRoute::Shared));
    assert_comes_back(&not_utf8);
}

#[test]
fn a_secret_that_is_written_into_a_contract_is_not_quoted() {
    let text = format!("{VISIT}[webhook]\nverify = \"github\"\nsecret = \"hush\"\n");
    let catalog = isolate_texts(&[("visit.toml", &text)]);
    assert!(!catalog.broken()[0].to_string().contains("hush"));
    assert!(catalog.contract("visit").unwrap().webhook.is_none(), "it cannot be verified");
    let text =
        format!("{}[webhook]\nverify = \"github\"\nsecret = \"ssm:/x\"\n", VISIT.replace("int64", "int"));
    assert!(isolate_texts(&[("visit.toml", &text)]).contract("visit").unwrap().webhook.is_some());
}
