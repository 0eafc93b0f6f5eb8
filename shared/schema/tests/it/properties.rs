//! Contracts with changed, repeated or missing parts, and other texts.

use std::time::{Duration, Instant};

use pinlake_schema::Catalog;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::cases::cases;
use crate::invariants;

const PIN: &str = include_str!("../../../../datasets/pin.toml");

/// Parts of contracts, to be inserted anywhere.
const PIECES: [&str; 40] = [
    "\n",
    "\r\n",
    "\"",
    "[",
    "]",
    "[[column]]\n",
    "[route]\n",
    "=",
    ",",
    "{",
    "}",
    "#",
    "\u{feff}",
    "é",
    "\0",
    "name",
    "type",
    "identity = \"record\"\n",
    "identity = [\"ind\"]\n",
    "identity = 7\n",
    "version = 0x1F\n",
    "version = 1e400\n",
    "version = nan\n",
    "required = true\n",
    "counts = 1\n",
    "null = []\n",
    "null = [\"\", \"\"]\n",
    "from = [\"a\", \"a\"]\n",
    "join = [[\"a\"], \"b\"]\n",
    "array_of = []\n",
    "separator = \"+\"\n",
    "type = \"array<json>\"\n",
    "type = \"int46\"\n",
    "formats = [\"%Y%\"]\n",
    "formats = [\"unix_millis\"]\n",
    "topics = [\"*\"]\n",
    "streams = [\"*-geo\"]\n",
    "partition_keys = [\"geo\"]\n",
    "shape = [\"latitude\", \"longitude\"]\n",
    "name = \"geo\"\n",
];

fn changed() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => proptest::sample::select(&PIECES[..]).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
        1 => Just(String::new()),
    ];
    let change = (any::<prop::sample::Index>(), 0..40_usize, piece);
    vec(change, 0..4).prop_map(|changes| {
        let mut text: Vec<char> = PIN.chars().collect();
        for (at, removed, piece) in changes {
            let at = at.index(text.len() + 1);
            let upto = (at + removed).min(text.len());
            text.splice(at..upto, piece.chars());
        }
        text.into_iter().collect()
    })
}

/// Lines of the contract in any order, with lines left out.
fn shuffled() -> impl Strategy<Value = String> {
    vec(proptest::sample::select(PIN.lines().collect::<Vec<_>>()), 0..60).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn any_text_is_a_contract_or_has_errors_with_a_place(
        text in prop_oneof![6 => changed(), 2 => shuffled(), 1 => any::<String>()],
    ) {
        invariants::contract(&text);
    }
}

/// The number of comparisons is bounded, so that no file takes long to check.
#[test]
#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn no_contract_takes_long_to_check() {
    let many = |item: &dyn Fn(usize) -> String, count: usize| -> String {
        (0..count).map(item).collect::<Vec<_>>().join(",")
    };
    let head = "name = \"x\"\nversion = 1\n";
    let column = "[[column]]\nname = \"a\"\ntype = \"string\"\n";
    let long = "a".repeat(1 << 20);
    for (what, text) in [
        ("deep", format!("x = {}", "[".repeat(100_000))),
        ("a million characters", format!("{long} = 1")),
        ("a long word", format!("{head}{} = 1\n{column}", &long[..200_000])),
        ("many unknown keys on a line", format!("x = {{ {} }}", many(&|at| format!("k{at} = 1"), 15_000))),
        ("many unknown keys", many(&|at| format!("k{at} = 1"), 15_000).replace(',', "\n")),
        (
            "many patterns",
            format!("{head}[route]\ntopics = [{}]\n{column}", many(&|at| format!("\"t{at}\""), 20_000)),
        ),
        ("a long pattern", format!("{head}[route]\ntopics = [\"{}\"]\n{column}", "*a".repeat(100_000))),
        ("many nulls", format!("{head}{column}null = [{}]", many(&|at| format!("\"{at}\""), 25_000))),
        (
            "many columns",
            format!("{head}column = [{}]", many(&|at| format!("{{name=\"c{at}\",type=\"x\"}}"), 8_000)),
        ),
    ] {
        let begun = Instant::now();
        let read = Catalog::from_files([("a.toml".to_owned(), text.clone()), ("b.toml".to_owned(), text)]);
        let shown = read.map_or_else(|errors| errors.to_string().len(), |_| 0);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(10), "{what} took {took:?}");
        assert!(shown < 8 << 20, "{what} has errors of {shown} bytes");
    }
}
