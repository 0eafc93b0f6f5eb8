//! Random texts: concatenated tokens, JSON with changed bytes, deep nesting.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::cases::cases;
use crate::invariants;

const TOKENS: [&str; 46] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"a\"",
    "\"",
    "\\",
    "\"a\\",
    "\\u12",
    "\"\\ud83d\"",
    "\"é\"",
    "\\ud83d\\ude00",
    "\"\\ud83d\\u0041\"",
    "\\ude00",
    "\\u00E9",
    "\"\\/\\b\\f\\r\\t\\n\"",
    "\"\\x\"",
    "1",
    "-",
    "0",
    "01",
    ".5",
    "1.5",
    "e",
    "E+7",
    "1e400",
    "-0",
    "true",
    "tru",
    "false",
    "null",
    "nan",
    "NaN",
    " ",
    "\n",
    "\t\r",
    "\u{0}",
    "\u{1f}",
    "\u{7f}",
    "\u{feff}",
    "\"a\":1",
    "{\"a\":",
    "[1,",
    "'",
];

const SEEDS: [&str; 4] = [
    r#"{"a":[1,-2.5e+10,true,false,null,{"b c":"\u00e9\n\ud83d\ude00\\\"/"}],"":" "}"#,
    r#"[{"x":"\ud800"},0.1,-0,[[]],{},"é\u0000\/\t"]"#,
    r#" { "k" : "v" , "n" : 12 } "#,
    r#""a string of more than sixteen bytes \u0022 and more behind""#,
];

fn changed() -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), 0..3_usize, proptest::sample::select(&TOKENS[..]));
    (proptest::sample::select(&SEEDS[..]), vec(change, 0..3)).prop_map(|(seed, changes)| {
        let mut text: Vec<char> = seed.chars().collect();
        for (at, removed, token) in changes {
            let at = at.index(text.len() + 1);
            let end = (at + removed).min(text.len());
            text.splice(at..end, token.chars());
        }
        text.into_iter().collect()
    })
}

fn deep() -> impl Strategy<Value = String> {
    (120..135_usize, any::<bool>()).prop_map(|(depth, objects)| {
        let (open, close) = if objects { ("{\"a\":", "}") } else { ("[", "]") };
        format!("{}1{}", open.repeat(depth), close.repeat(depth))
    })
}

proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn the_lexer_agrees_with_serde_json(
        text in prop_oneof![
            5 => vec(proptest::sample::select(&TOKENS[..]), 0..9).prop_map(|tokens| tokens.concat()),
            5 => changed(),
            1 => deep(),
            1 => any::<String>(),
        ],
    ) {
        invariants::text(&text);
    }
}
