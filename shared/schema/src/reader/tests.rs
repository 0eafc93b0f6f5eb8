use crate::webhook::{SecretName, SignatureScheme};
use crate::{Catalog, ContractErrors, Identity, QUARANTINE, StreamRoute};

const VISIT: &str = r#"
name = "visit"
version = 1
description = "One row a visit."
identity = ["visitor", "at"]

[route]
topics = ["*.visit"]
streams = ["visits-*"]
partition_keys = ["visit"]
files = ["visit*"]
shape = ["visitor", "page"]

[[column]]
name = "visitor"
type = "int64"
description = "Who."
required = true

[[column]]
name = "at"
type = "timestamp"

[[column]]
name = "page"
type = "string"
null = ["-", ""]
remove_prefix = "/"

[[column]]
name = "place"
type = "array<float64>"
array_of = ["latitude", ["longitude", "long"]]
"#;

fn catalog(files: &[(&str, &str)]) -> Result<Catalog, ContractErrors> {
    Catalog::from_files(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
}

/// The errors of the files, each as `line: problem | help`.
fn error_messages(files: &[(&str, &str)]) -> Vec<String> {
    let errors = catalog(files).expect_err("the contract has an error");
    errors.errors.iter().map(|error| format!("{}: {} | {}", error.line, error.problem, error.help)).collect()
}

/// The only error of [`VISIT`] after `from` is replaced by `to`.
fn error_message(from: &str, to: &str) -> String {
    assert!(VISIT.contains(from), "{from}");
    let found = error_messages(&[("visit.toml", &VISIT.replacen(from, to, 1))]);
    assert_eq!(found.len(), 1, "{from} -> {to}: {found:#?}");
    found[0].clone()
}

#[test]
fn a_valid_contract_is_parsed() {
    let catalog = catalog(&[("visit.toml", VISIT)]).expect("a valid contract");
    let visit = catalog.contract("visit").expect("the contract is in the catalog");
    assert_eq!(visit.label(), "visit@1");
    assert_eq!(visit.identity, Identity::Columns(vec!["visitor".into(), "at".into()]));
    assert_eq!(visit.columns[1].formats.len(), 2, "a timestamp without formats has the default ones");
    let schema = visit.arrow_schema();
    assert_eq!(schema.field(0).metadata()["comment"], "Who.");
    assert_eq!(schema.field(1).data_type().to_string(), "Timestamp(µs, \"UTC\")");
    let arrow::datatypes::DataType::List(item) = schema.field(3).data_type() else {
        panic!("{}", schema.field(3))
    };
    assert_eq!((item.name().as_str(), item.is_nullable()), ("element", true));
    assert_eq!(visit.landing_schema().fields().last().expect("key").name(), crate::KEY_COLUMN);
    // Without contracts of the datasets of the pipeline, the embedded ones are used.
    assert_eq!(catalog.quarantine().name, QUARANTINE);
    assert_eq!(catalog.contracts().count(), 3);
}

#[test]
fn records_are_routed_by_name() {
    let catalog = Catalog::embedded().expect("a valid contract");
    let dataset = |contract: Option<&std::sync::Arc<crate::Contract>>| contract.map(|own| own.name.clone());
    for (topic, name) in
        [("0a3f.pin", Some("pin")), ("pinterest.pin", Some("pin")), ("x.geo", Some("geo")), ("x.log", None)]
    {
        assert_eq!(dataset(catalog.route_topic(topic)).as_deref(), name, "{topic}");
    }
    assert!(
        matches!(catalog.route_stream("streaming-0a3f-user"), StreamRoute::Dataset(own) if own.name == "user")
    );
    assert!(matches!(catalog.route_stream("Kinesis-Prod-Stream"), StreamRoute::Shared));
    assert!(matches!(catalog.route_stream("streaming-0a3f-log"), StreamRoute::Unknown));
    assert_eq!(dataset(catalog.route_partition_key("geo")).as_deref(), Some("geo"));
    assert_eq!(dataset(catalog.route_partition_key("partition-1")), None);
    for (path, name) in [
        ("in/pin.ndjson", Some("pin")),
        ("geolocation_data.csv", Some("geo")),
        ("user_data.csv.gz", Some("user")),
        ("topics/0a3f.geo/partition=0/0a3f.geo+0+0000000000.json", Some("geo")),
        ("rows.json", None),
    ] {
        assert_eq!(dataset(catalog.route_file(path)).as_deref(), name, "{path}");
    }
}

#[test]
fn errors_have_a_place_and_a_suggestion() {
    for (from, to, expected) in [
        ("type = \"int64\"", "type = \"int46\"", "16: unknown type `int46` | did you mean `int64`?"),
        ("type = \"int64\"", "type = \"bigint\"", "16: unknown type `bigint` | did you mean `int64`?"),
        (
            "array<float64>",
            "array<double>",
            "32: unknown type `array<double>` | did you mean `array<float64>`?",
        ),
        (
            "type = \"int64\"",
            "type = \"decimal\"",
            "16: unknown type `decimal` | write decimal(precision,scale), such as",
        ),
        (
            "type = \"int64\"",
            "type = \"NUMERIC(9, 3)\"",
            "16: unknown type `NUMERIC(9, 3)` | did you mean `decimal(9,3)`?",
        ),
        (
            "type = \"int64\"",
            "type = \"decimal(9)\"",
            "16: unknown type `decimal(9)` | did you mean `decimal(9,0)`?",
        ),
        ("type = \"int64\"", "type = \"decimal(39,2)\"", "16: unknown type `decimal(39,2)` | write decimal("),
        ("type = \"int64\"", "type = \"decimal(2,3)\"", "16: unknown type `decimal(2,3)` | write decimal("),
        ("type = \"int64\"", "type = \"decimal(-1,2)\"", "16: unknown type `decimal(-1,2)` | write decimal("),
        ("remove_prefix = \"/\"", "requierd = true", "28: unknown key `requierd` | did you mean `required`?"),
        (
            "remove_prefix = \"/\"",
            "required = \"yes\"",
            "28: `required` is `yes`, and has to be true or false",
        ),
        ("shape = [\"visitor\", \"page\"]", "shape = []", "12: `shape` is empty"),
        ("version = 1", "version = 0", "3: 0 cannot be a version"),
        ("version = 1", "", "2: `version` is missing | add a line such as version = 1"),
        ("name = \"visit\"", "name = \"Visit!\"", "2: `Visit!` cannot be the name of a dataset"),
        ("name = \"page\"", "name = \"AT\"", "25: column `AT` is there twice: `at` came before"),
        ("name = \"page\"", "name = \"_key\"", "25: `_key` is kept"),
        ("name = \"page\"", "name = \"a b\"", "25: `a b` cannot be the name of a column"),
        (
            "[\"visitor\", \"at\"]",
            "[\"visitr\", \"visitor\"]",
            "5: identity names `visitr`, which is not a column | did you mean `visitor`?",
        ),
        ("[\"visitor\", \"at\"]", "[\"at\"]", "5: every column of the identity may be null"),
        ("[\"visitor\", \"at\"]", "\"rows\"", "5: `rows` is not an identity"),
        (
            "type = \"timestamp\"",
            "type = \"timestamp\"\nformats = [\"%Y-%m-%dT%h\"]",
            "23: `%Y-%m-%dT%h` is not a format of dates: `%h` is not known",
        ),
        ("type = \"timestamp\"", "type = \"timestamp\"\nformats = [\"date\"]", "23: `date` is not a format"),
        (
            "type = \"timestamp\"",
            "type = \"timestamp\"\ncounts = true",
            "23: `counts` does not go with the type timestamp",
        ),
        ("remove_prefix = \"/\"", "separator = \" \"", "28: `separator` stands between"),
        ("remove_prefix = \"/\"", "from = \"page\"\njoin = [\"a\", \"b\"]", "29: `from` and `join` both say"),
        ("remove_prefix = \"/\"", "array_of = [\"a\"]", "28: `array_of` does not go with the type string"),
        ("null = [\"-\", \"\"]", "null = [\"-\", \"-\"]", "27: `null` has `-` in it twice"),
        ("null = [\"-\", \"\"]", "null = [0]", "27: `null` has 0 in it, and takes texts only"),
        ("[route]", "misrouted = \"drop\"\n[route]", "7: unknown key `misrouted`"),
        ("shape =", "misrouted = \"drop\"\nshape =", "12: `drop` is nothing that can be done"),
        ("[route]", "[routes]", "7: unknown key `routes` | did you mean `route`?"),
    ] {
        let found = error_message(from, to);
        assert!(found.starts_with(expected), "{from} -> {to}\n  found    {found}\n  expected {expected}");
    }
}

#[test]
fn all_errors_of_all_files_are_reported_at_once() {
    let broken = VISIT.replace("\"int64\"", "\"int46\"").replace("version = 1", "version = \"1\"");
    let found = error_messages(&[("a.toml", "name = \"a\nversion = 1\n"), ("visit.toml", &broken)]);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("1: ") && found[1].starts_with("3: ") && found[2].starts_with("16: "));
}

#[test]
fn two_datasets_cannot_claim_the_same_records() {
    let other = r#"
name = "other"
version = 1
[route]
topics = ["europe.*"]
streams = ["visits-1"]
partition_keys = ["visit"]
files = ["*.csv"]
shape = ["page", "visitor"]
[[column]]
name = "page"
type = "string"
"#;
    let found = error_messages(&[("a.toml", VISIT), ("b.toml", other)]);
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found[0].starts_with("5: topics `europe.*` overlap with `*.visit` of dataset `visit` (a.toml)"));
    assert!(found[4].contains("page, visitor"));
    let twice = error_messages(&[("a.toml", VISIT), ("b.toml", &other.replace("\"other\"", "\"visit\""))]);
    assert!(twice[0].starts_with("2: dataset `visit` is already in a.toml"), "{twice:#?}");
}

#[test]
fn quarantine_must_have_the_columns_that_the_cleaner_fills() {
    let text = "name = \"quarantine\"\nversion = 1\n[[column]]\nname = \"raw\"\ntype = \"binary\"\n";
    let found = error_messages(&[("quarantine.toml", text)]);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("arrived_at timestamp"), "{found:#?}");
}

#[test]
fn an_error_is_shown_with_its_line() {
    let errors =
        catalog(&[("visit.toml", &VISIT.replace("\"int64\"", "\"int46\""))]).expect_err("wrong type");
    assert_eq!(
        errors.to_string(),
        "error: unknown type `int46`\n  --> visit.toml:16:8\n   |\n16 | type = \"int46\"\n   |        ^^^^^^^\n   \
         = did you mean `int64`?\n\n1 error in 1 contract file; no contract was loaded"
    );
}

#[test]
fn hashes_depend_on_the_meaning_of_a_contract() {
    let hashes = |text: &str| {
        let catalog = catalog(&[("visit.toml", text)]).expect("a valid contract");
        let visit = catalog.contract("visit").expect("the contract is in the catalog");
        (visit.hash().to_owned(), visit.identity_hash().to_owned())
    };
    let (hash, identity) = hashes(VISIT);
    assert_eq!((hash.len(), identity.len()), (16, 16));
    let same = |from: &str, to: &str| hashes(&VISIT.replacen(from, to, 1));
    // Comments, layout, descriptions and routes by name do not change rows.
    assert_eq!(same("name =", "# a note\n\nname   ="), (hash.clone(), identity.clone()));
    assert_eq!(same("\"Who.\"", "\"Who it was.\""), (hash.clone(), identity.clone()));
    assert_eq!(same("*.visit", "*.visits"), (hash.clone(), identity.clone()));
    // A rule of a column outside the identity changes rows, but not keys.
    let (changed, kept) = same("remove_prefix = \"/\"", "");
    assert_ne!(changed, hash);
    assert_eq!(kept, identity);
    // A rule of a column inside the identity changes both.
    let (changed, other) = same("type = \"int64\"", "type = \"int32\"");
    assert!(changed != hash && other != identity);
    let row = VISIT.replacen("identity = [\"visitor\", \"at\"]\n", "", 1);
    assert_ne!(hashes(&row).1, identity);
}

#[test]
fn the_examples_in_the_documentation_are_correct() {
    let page = include_str!("../../../../docs/contracts.md");
    let example =
        page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    catalog(&[("datasets/visit.toml", example)]).expect("a valid contract");
    let latest = include_str!("../../../../docs/keep-latest.md");
    let latest =
        latest.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    assert!(catalog(&[("orders.toml", latest)]).expect("a valid contract").contract("orders").is_some());
    let order = "name = \"order\"\nversion = 1\n[route]\ntopics = [\"europe.*\"]\n[[column]]\nname = \"id\"\ntype = \"int64\"\n";
    let broken = example.replacen("\"int64\"", "\"int46\"", 1);
    let errors = catalog(&[("datasets/order.toml", order), ("datasets/visit.toml", &broken)])
        .expect_err("the contract has an error");
    assert!(page.contains(&errors.to_string()), "{errors}");
}

#[test]
fn a_catalogs_hash_covers_every_route() {
    let hash = |text: &str, routes: &str| {
        let files = [("visit.toml", text), ("_routes.toml", routes)];
        catalog(&files).expect("a valid contract").hash().to_owned()
    };
    let shared = "shared_streams = [\"all\"]\n";
    let first = hash(VISIT, shared);
    assert_eq!(hash(&format!("{VISIT}\n# a note\n"), shared), first);
    let mut seen = std::collections::BTreeSet::from([first]);
    for route in ["topics", "streams", "partition_keys", "files"] {
        let start = VISIT.find("[route]").expect("a section with routes") + "[route]\n".len();
        let rest: String = VISIT[start..]
            .lines()
            .filter(|line| !line.starts_with(route))
            .map(|line| format!("{line}\n"))
            .collect();
        let text = format!("{}{route} = [\"another-name\"]\n{rest}", &VISIT[..start]);
        assert!(seen.insert(hash(&text, shared)), "{route}");
    }
    assert!(seen.insert(hash(VISIT, "shared_streams = [\"all\", \"more\"]\n")));
}

#[test]
fn identity_by_record_has_a_former_key_epoch() {
    let text = VISIT.replacen("identity = [\"visitor\", \"at\"]", "identity = \"record\"", 1);
    let catalog = catalog(&[("visit.toml", &text)]).expect("a valid contract");
    let visit = catalog.contract("visit").expect("the contract is in the catalog");
    assert_eq!(visit.identity, Identity::Record);
    assert!(visit.former_identity_hash().is_some_and(|former| former != visit.identity_hash()));
    let last = |schema: arrow::datatypes::SchemaRef| schema.fields().last().expect("a column").name().clone();
    assert_eq!(last(visit.landing_schema()), crate::FORMER_KEY_COLUMN);
    assert_eq!(last(visit.table_schema()), crate::KEY_COLUMN);
    assert_eq!(last(catalog.quarantine().table_schema()), crate::KEY_COLUMN);
}

#[test]
fn a_contract_says_how_its_files_are_written() {
    let section = "[file]\ndelimiter = \";\"\nquote = \"\"\nescape = \"\\\\\"\ncomment = \"#\"\n\
                   encoding = \"latin1\"\nrepeated_headers = \"keep\"\n\n[[column]]\nname = \"visitor\"";
    let text = VISIT.replacen("[[column]]\nname = \"visitor\"", section, 1);
    let with_file = catalog(&[("visit.toml", &text)]).expect("a valid contract");
    let file = &with_file.contract("visit").expect("a contract").file;
    assert_eq!((file.delimiter, file.quote, file.escape), (Some(b';'), Some(None), Some(b'\\')));
    assert_eq!((file.comment.as_deref(), file.encoding), (Some("#"), Some("windows-1252")));
    assert!(file.keeps_repeated_headers);
    let plain = catalog(&[("visit.toml", VISIT)]).expect("a valid contract");
    let hash = |catalog: &Catalog| catalog.contract("visit").expect("a contract").hash().to_owned();
    assert_eq!(hash(&with_file), hash(&plain), "how files are written changes no row");
    assert_ne!(with_file.hash(), plain.hash(), "but what is read of a file");
    for (key, problem) in [
        ("delimiter = \";;\"", "`delimiter` is one character"),
        ("delimiter = \"\\n\"", "`delimiter` is one character"),
        ("delimiter = \"\\\"\"", "the delimiter is the quote"),
        ("encoding = \"utf-7\"", "not an encoding"),
        ("encoding = \"iso-2022-jp\"", "not an encoding"),
        ("encoding = \"shift_jis\"\ndelimiter = \"|\"", "may contain the byte of `|`"),
        ("encoding = \"gbk\"\nescape = \"\\\\\"", "may contain the byte"),
        ("comment = \"\"", "cannot begin a comment"),
        ("repeated_headers = \"no\"", "nothing that can be done"),
        ("delimeter = \";\"", "delimeter"),
    ] {
        let text = VISIT.replacen("[[column]]", &format!("[file]\n{key}\n\n[[column]]"), 1);
        let found = error_messages(&[("visit.toml", &text)]);
        assert!(found.len() == 1 && found[0].contains(problem), "{key}: {found:?}");
    }
}

#[test]
fn null_markers_may_be_for_all_columns() {
    let text = VISIT.replacen("version = 1", "version = 1\nnull = [\"NA\"]", 1);
    let catalog = catalog(&[("visit.toml", &text)]).expect("a valid contract");
    let columns = &catalog.contract("visit").expect("a contract").columns;
    assert!(columns.iter().all(|column| column.null.contains(&"NA".to_owned())));
    assert_eq!(columns[2].null, ["-", "", "NA"]);
}

#[test]
fn a_contract_says_how_its_webhook_is_verified() {
    let with = |section: &str| VISIT.replacen("[[column]]", &format!("{section}\n[[column]]"), 1);
    for (verify, scheme) in [
        ("github", SignatureScheme::GitHub),
        ("stripe", SignatureScheme::Stripe),
        ("standard", SignatureScheme::Standard),
    ] {
        let text = with(&format!("[webhook]\nverify = \"{verify}\"\nsecret = \"ssm:/pinlake/{verify}\""));
        let signed = catalog(&[("visit.toml", &text)]).expect("a valid contract");
        let webhook = signed.contract("visit").expect("a contract").webhook.clone().expect("a webhook");
        assert_eq!((webhook.verify, webhook.verify.as_str()), (scheme, verify));
        assert_eq!(webhook.secret, SecretName::Parameter(format!("/pinlake/{verify}")));
        let plain = catalog(&[("visit.toml", VISIT)]).expect("a valid contract");
        assert_eq!(signed.hash(), plain.hash(), "who may send records changes no row");
    }
    let arn = "secretsmanager:arn:aws:secretsmanager:eu-west-1:1:secret:pinlake/stripe-AbCdEf";
    let text = with(&format!("[webhook]\nverify = \"stripe\"\nsecret = \"{arn}\""));
    let webhook = catalog(&[("visit.toml", &text)]).expect("a valid contract");
    let webhook = webhook.contract("visit").expect("a contract").webhook.clone().expect("a webhook");
    assert_eq!(webhook.secret.to_string(), arn);

    let secret = "secret = \"ssm:/x\"";
    for (keys, expected) in [
        (
            format!("verify = \"githb\"\n{secret}"),
            "15: `githb` is not a known way to sign a webhook | did you mean `github`?",
        ),
        (format!("verify = \"hmac\"\n{secret}"), "15: `hmac` is not a known way"),
        (format!("verfiy = \"github\"\n{secret}"), "14: `verify` is missing"),
        ("verify = \"github\"".to_owned(), "14: `secret` is missing | add a line such as secret = \"ssm:"),
        ("verify = \"github\"\nsecret = 7".to_owned(), "16: `secret` is 7, and has to be text"),
        ("verify = \"github\"\nsecret = \"whsec_hunter2\"".to_owned(), "16: `secret` is not the name"),
        ("verify = \"github\"\nsecret = \"ssm:\"".to_owned(), "16: `secret` is not the name"),
        ("verify = \"github\"\nsecret = \"ssm:a b\"".to_owned(), "16: `secret` is not the name"),
        ("verify = \"github\"\nsecret = \"env:X\"".to_owned(), "16: `secret` is not the name"),
    ] {
        let text = with(&format!("[webhook]\n{keys}"));
        let errors = catalog(&[("visit.toml", &text)]).expect_err("the contract has an error").to_string();
        assert!(!errors.contains("hunter2"), "a secret is quoted: {errors}");
        let found = error_messages(&[("visit.toml", &text)]);
        assert!(found.iter().any(|error| error.starts_with(expected)), "{keys}: {found:#?}");
    }
    let rerouting = with(&format!("misrouted = \"reroute\"\n[webhook]\nverify = \"github\"\n{secret}"));
    let found = error_messages(&[("visit.toml", &rerouting)]);
    assert!(found.len() == 1 && found[0].contains("could write to other datasets"), "{found:#?}");
}

#[test]
fn paths_are_checked() {
    for (from, to, expected) in [
        (
            "array_of = [\"latitude\"",
            "array_of = [\"place[kind=home.lat\"",
            "33: `place[kind=home.lat` is neither a field nor a path: `[` begins a selector such as [key=name], which does \
             not end",
        ),
        (
            "shape = [\"visitor\"",
            "shape = [\"a[=x].b\"",
            "12: `a[=x].b` is neither a field nor a path: a selector has",
        ),
    ] {
        let found = error_message(from, to);
        assert!(found.starts_with(expected), "{found}");
    }
    let nested = VISIT.replace("type = \"int64\"", "type = \"int64\"\nfrom = [\"after.visitor\", 'a\\.b']");
    let catalog = catalog(&[("visit.toml", &nested)]).expect("a valid contract");
    let fields = catalog.contract("visit").expect("a contract").top_level_fields();
    assert_eq!(fields[..4], ["after.visitor", "after", "a.b", "at"]);
}

#[test]
fn rules_of_numbers_are_checked() {
    const PAGE: &str = "remove_prefix = \"/\"";
    for (from, to, expected) in [
        (
            PAGE,
            "locale = \"de\"",
            "28: `locale` does not go with the type string | make it int64, int32, float64 or decimal, or",
        ),
        (
            "required = true",
            "required = true\nlocale = \"dee\"",
            "19: unknown locale `dee` | did you mean `de`?",
        ),
        (
            "required = true",
            "required = true\nlocale = \"klingon\"",
            "19: unknown locale `klingon` | locales are `en`, `de`",
        ),
        (
            "array_of",
            "remove_suffix = \"x\"\narray_of",
            "33: `remove_suffix` does not go with the type array<float64>",
        ),
    ] {
        let found = error_message(from, to);
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn a_contract_says_which_record_is_the_row() {
    let with = |keep: &str| VISIT.replacen("[route]", &format!("{keep}\n[route]"), 1);
    let keep = "keep = { latest_by = [\"at\"], delete_when = { \"source.op\" = \"d\", gone = true }, remember_deletes_days = 7 }";
    let catalog = catalog(&[("visit.toml", &with(keep))]).expect("a valid contract");
    let visit = catalog.contract("visit").expect("the contract is in the catalog");
    let keep = visit.keep.as_ref().expect("it keeps the latest");
    assert_eq!(
        (keep.latest_by.as_slice(), keep.remember_deletes.as_secs()),
        (&["at".to_owned()][..], 604_800)
    );
    let rules: Vec<_> =
        keep.delete_when.iter().map(|rule| (rule.field.as_str(), rule.value.as_str())).collect();
    assert_eq!(rules, [("gone", "true"), ("source.op", "d")]);
    assert!(visit.has_deletes());
    assert_eq!(visit.landing_schema().fields().last().expect("a column").name(), crate::DELETED_COLUMN);
    for (keep, expected) in [
        (
            "keep = { latest_by = [\"att\"] }",
            "latest_by names `att`, which is not a column | did you mean `at`?",
        ),
        ("keep = { latest_by = [\"place\"] }", "column `place` is array<float64>, which has no order"),
        ("keep = { latest_by = [] }", "`latest_by` is empty"),
        ("keep = { delete_when = { op = \"d\" } }", "`latest_by` is missing"),
        ("keep = { latest_by = [\"at\"], delete_when = {} }", "`delete_when` has 0 conditions"),
        ("keep = { latest_by = [\"at\"], delete_when = { op = [1] } }", "`op` is compared with a list"),
        (
            "keep = { latest_by = [\"at\"], remember_deletes_days = 0 }",
            "deletes cannot be remembered for 0 days",
        ),
        (
            "keep = { latestby = [\"at\"], latest_by = [\"at\"] }",
            "unknown key `latestby` | did you mean `latest_by`?",
        ),
        ("keep = \"latest\"", "`keep` is `latest`, and has to be a table"),
    ] {
        let found = error_messages(&[("visit.toml", &with(keep))]);
        assert!(found.iter().any(|error| error.contains(expected)), "{keep}: {found:#?}");
    }
    let by_row = with("keep = { latest_by = [\"at\"] }").replacen("identity = [\"visitor\", \"at\"]", "", 1);
    assert!(error_messages(&[("visit.toml", &by_row)])[0].contains("`keep` needs an identity of columns"));
}

#[test]
fn partition_columns_are_checked() {
    let trimmed = VISIT.replacen("[route]", "partition_by = [\"page\"]\n[route]", 1);
    let found = error_messages(&[("visit.toml", &trimmed)]);
    assert!(found[0].contains("`remove_prefix` may leave an empty text in column `page`"), "{found:#?}");
    let visit = VISIT.replace("null = [\"-\", \"\"]\nremove_prefix = \"/\"", "null = [\"-\"]");
    let with = |columns: &str| visit.replacen("[route]", &format!("partition_by = [{columns}]\n[route]"), 1);
    let valid = with("\"visitor\"");
    let catalog = catalog(&[("visit.toml", &valid)]).expect("a valid contract");
    assert_eq!(catalog.contract("visit").expect("the contract is in the catalog").partition_by, ["visitor"]);
    for (columns, expected) in [
        ("\"visiter\"", "partition_by names `visiter`, which is not a column | did you mean `visitor`?"),
        ("\"at\"", "column `at` is timestamp, by which a table is not partitioned"),
        ("\"page\"", "column `page` may have an empty text, which Delta makes null in a partition column"),
        ("\"visitor\", \"at\", \"page\", \"place\"", "all columns are partition columns"),
    ] {
        let found = error_messages(&[("visit.toml", &with(columns))]);
        assert!(found.iter().any(|error| error.contains(expected)), "{columns}: {found:#?}");
    }
}

#[test]
fn columns_of_clusters_are_checked() {
    let with = |keys: &str| VISIT.replacen("[route]", &format!("{keys}\n[route]"), 1);
    let catalog =
        catalog(&[("visit.toml", &with("cluster_by = [\"at\", \"page\"]"))]).expect("a valid contract");
    assert_eq!(catalog.contract("visit").expect("the contract is in the catalog").cluster_by, ["at", "page"]);
    for (keys, expected) in [
        (
            "cluster_by = [\"visiter\"]",
            "cluster_by names `visiter`, which is not a column | did you mean `visitor`?",
        ),
        ("partition_by = [\"visitor\"]\ncluster_by = [\"visitor\"]", "column `visitor` is in `partition_by`"),
        ("cluster_by = [\"place\"]", "by which rows are not sorted"),
    ] {
        let found = error_messages(&[("visit.toml", &with(keys))]);
        assert!(found.iter().any(|error| error.contains(expected)), "{keys}: {found:#?}");
    }
}

#[test]
fn rules_of_values_are_checked() {
    const PAGE: &str = "remove_prefix = \"/\"";
    for (from, to, expected) in [
        (
            PAGE,
            "zone = \"Europe/Berlin\"",
            "28: `zone` does not go with the type string | make it timestamp, or",
        ),
        (
            "type = \"timestamp\"",
            "type = \"timestamp\"\nzone = \"Europe/Berln\"",
            "23: unknown zone `Europe/Berln` | did",
        ),
        (PAGE, "true = [\"ja\"]", "28: `true` does not go with the type string | make it boolean, or"),
        (PAGE, "case = \"Lower\"", "28: `Lower` is not a case of letters | write \"lower\" or \"upper\""),
        (PAGE, "matches = \"[a\"", "28: `matches` is not a regular expression: "),
        (PAGE, "matches = \"(((a{100}){100}){100})\"", "28: `matches` is not a regular expression: "),
        (
            PAGE,
            "default = 7",
            "28: `default` is 7, which is not a value of the type string | write default = \"new\"",
        ),
        (PAGE, "one_of = [\"a\"]\ndefault = \"b\"", "29: the default is not an allowed value | allow it"),
        (
            PAGE,
            "min = 7",
            "28: `min` does not go with the type string | make it int64, int32, float64 or decimal, or",
        ),
        (
            "required = true",
            "required = true\nmin = 0.5",
            "19: `min` is 0.5, which is not a value of the type int64 | write a whole number",
        ),
        (
            "required = true",
            "required = true\nmin = 2\nmax = 1",
            "20: `max` is less than `min`: no number is allowed",
        ),
        (
            "type = \"int64\"",
            "type = \"decimal(4,2)\"\nmin = 0.001",
            "17: `min` is 0.001, which is not a value of the type decimal(4,2) | write a number with at most 2 digits before the point and 2",
        ),
        (
            "type = \"int64\"",
            "type = \"decimal(4,2)\"\ndefault = 100",
            "17: `default` is 100, which is not a value of the type decimal(4,2) | write a number with at most 2 digits before",
        ),
        (
            "type = \"int64\"",
            "type = \"decimal(4,2)\"\nmin = 0.1\nmax = 0.09",
            "18: `max` is less than `min`",
        ),
        ("type = \"int64\"", "type = \"decimal(4,2)\"\nmin = 0.5\ndefault = 0.49", "18: the default is not"),
        ("array_of", "default = 1\narray_of", "33: `default` does not go with the type array<float64>"),
    ] {
        let found = error_message(from, to);
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn hashes_cover_the_rules_that_a_column_has() {
    let hash = |rules: &str| {
        let text =
            format!("name = \"t\"\nversion = 1\n[[column]]\nname = \"c\"\ntype = \"string\"\n{rules}\n");
        let catalog = catalog(&[("t.toml", &text)]).unwrap_or_else(|errors| panic!("{errors}"));
        let contract = catalog.contract("t").expect("a contract");
        (contract.hash().to_owned(), contract.identity_hash().to_owned())
    };
    let rules = [
        "",
        "from = \"a.b\"",
        "trim = true",
        "case = \"lower\"",
        "case = \"upper\"",
        "default = \"a\"",
        "one_of = [\"a\"]",
        "matches = \"a\"",
        "remove_suffix = \"a\"",
    ];
    let hashes: std::collections::HashSet<_> = rules.iter().map(|rules| hash(rules)).collect();
    assert_eq!(hashes.len(), rules.len());
    assert_eq!(hash("one_of = [\"a\", \"b\"]"), hash("one_of = [\"b\", \"a\"]"));
    // As before these rules existed.
    assert_eq!(hash("").0, "7e0e3a2dd5fe35b8");
}

#[test]
fn decimals_are_a_type() {
    let text = "name = \"t\"\nversion = 1\nidentity = [\"a\"]\nkeep = { latest_by = [\"a\"] }\n\
                [[column]]\nname = \"a\"\ntype = \"decimal( 12, 2 )\"\nrequired = true\nlocale = \"de\"\nmax = 9999999999.99\n\
                [[column]]\nname = \"b\"\ntype = \"array<decimal(38,0)>\"\n";
    let catalog = catalog(&[("t.toml", text)]).unwrap_or_else(|errors| panic!("{errors}"));
    let contract = catalog.contract("t").expect("a contract");
    let types: Vec<String> = contract.columns.iter().map(|column| column.data_type.to_string()).collect();
    assert_eq!(types, ["decimal(12,2)", "array<decimal(38,0)>"]);
    for column in &contract.columns {
        assert_eq!(crate::Type::from_arrow(&column.data_type.arrow()), Some(column.data_type));
    }
    let max = contract.columns[0].checks.as_ref().and_then(|checks| checks.max).expect("a bound");
    assert_eq!(max.to_string(), "9999999999.99");
}

#[test]
fn derived_columns_name_their_source() {
    let with = |lines: &str| {
        VISIT.replace("[[column]]\nname = \"page\"", &format!("{lines}\n[[column]]\nname = \"page\""))
    };
    let derived = |name: &str, data_type: &str, derive: &str| {
        format!("[[column]]\nname = \"{name}\"\ntype = \"{data_type}\"\nderive = \"{derive}\"")
    };
    let day = derived("day", "date", "date(at)");
    let all = [
        day.clone(),
        derived("y", "int32", "year(at)"),
        derived("m", "int32", "month( at )"),
        derived("h", "int32", "hour(at)"),
    ];
    let own = catalog(&[("visit.toml", &with(&all.join("\n")))]).unwrap_or_else(|errors| panic!("{errors}"));
    let own = own.contract("visit").expect("a contract");
    let sources: Vec<String> = own
        .columns
        .iter()
        .filter_map(|column| match &column.source {
            crate::ColumnSource::Derived(derivation) => Some(derivation.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(sources, ["date(at)", "year(at)", "month(at)", "hour(at)"]);
    // Keys of whole rows do not cover them; those of named columns may.
    let row = |text: &str| text.replace("identity = [\"visitor\", \"at\"]", "");
    let hash = |text: &str| {
        let found = catalog(&[("visit.toml", text)]).unwrap_or_else(|errors| panic!("{errors}"));
        let own = found.contract("visit").expect("a contract");
        (own.hash().to_owned(), own.identity_hash().to_owned())
    };
    let (plain, with_day) = (hash(&row(VISIT)), hash(&row(&with(&day))));
    assert!(plain.0 != with_day.0 && plain.1 == with_day.1);
    let by_day = with(&day).replace("[\"visitor\", \"at\"]", "[\"visitor\", \"day\"]");
    assert_ne!(hash(&by_day).1, hash(&VISIT.replace("[\"visitor\", \"at\"]", "[\"visitor\"]")).1);
    for (lines, expected) in [
        (derived("day", "date", "day(at)"), "`day(at)` is no part of a column | write derive = \"date(at)\""),
        (derived("day", "date", "at"), "`at` is no part of a column"),
        (
            derived("day", "date", "date(att)"),
            "derive names `att`, which is not a column | did you mean `at`?",
        ),
        (derived("day", "date", "date(visitor)"), "column `visitor` is int64, which has no date"),
        (
            derived("day", "timestamp", "date(at)"),
            "date(at) is date, and the column `day` timestamp | write type = \"date\"",
        ),
        (derived("day", "int64", "year(at)"), "year(at) is int32, and the column `day` int64"),
        (format!("{day}\nfrom = \"x\""), "`from` and `derive` both say where the value comes from"),
        (format!("{day}\nformats = [\"%Y\"]"), "`formats` has no meaning in a derived column"),
        (
            format!("{day}\n{}", derived("y", "int32", "year(day)")),
            "`day` is a derived column itself | name `at`",
        ),
    ] {
        let found = error_messages(&[("visit.toml", &with(&lines))]);
        assert!(found.iter().any(|error| error.contains(expected)), "{lines}: {found:#?}");
    }
}

#[test]
fn a_contract_says_what_the_records_of_a_document_are() {
    let with = |lines: &str| VISIT.replacen("[[column]]", &format!("[file]\n{lines}\n[[column]]"), 1);
    let found = catalog(&[(
        "visit.toml",
        &with("records = \"data.items[]\"\nskip_when = { \"meta.kind\" = \"total\", n = 0 }"),
    )]);
    let found = found.unwrap_or_else(|errors| panic!("{errors}"));
    let visit = found.contract("visit").expect("a contract");
    assert_eq!(visit.file.records.as_ref().map(|path| path.as_str()), Some("data.items[]"));
    assert_eq!(visit.file.skip_when.len(), 2);
    assert!(visit.top_level_fields().contains(&"meta".to_owned()), "{:?}", visit.top_level_fields());
    let plain = catalog(&[("visit.toml", VISIT)]).expect("a valid contract");
    let plain = plain.contract("visit").expect("a contract");
    // Which records are data affects rows, and not their keys.
    assert!(plain.hash() != visit.hash() && plain.identity_hash() == visit.identity_hash());
    let changes: Vec<_> = crate::compare_contracts(plain, visit).iter().map(ToString::to_string).collect();
    assert_eq!(changes.len(), 2, "{changes:?}");
    for (lines, expected) in [
        ("records = \"a[k=v].b[]\"", "`a[k=v].b[]` is no path to records: a path to records has no selector"),
        ("records = \"\"", "`` is no path to records"),
        (
            "skip_when = {}",
            "`skip_when` has 0 conditions, and has 1 to 16 | write skip_when = { kind = \"total\" }",
        ),
        ("skip_when = { kind = [1] }", "`kind` is compared with a list"),
        ("skip_whn = { kind = \"x\" }", "unknown key `skip_whn` | did you mean `skip_when`?"),
    ] {
        let found = error_messages(&[("visit.toml", &with(lines))]);
        assert!(found.iter().any(|error| error.contains(expected)), "{lines}: {found:#?}");
    }
}

#[test]
fn the_rest_is_a_column() {
    let with_rest = VISIT.replace("version = 1", "version = 1\nrest = \"others\"");
    let found = catalog(&[("visit.toml", &with_rest)]).expect("a valid contract");
    let column = found.contract("visit").expect("a contract").columns.last().expect("a column").clone();
    assert_eq!((column.name.as_str(), column.data_type.to_string().as_str()), ("others", "json"));
    for (name, expected) in
        [("page", "4: column `page` is there already"), ("a b", "4: `a b` cannot be the name")]
    {
        let found = error_message("version = 1", &format!("version = 1\nrest = \"{name}\""));
        assert!(found.starts_with(expected), "{found}");
    }
}
