//! The table of reasons in `docs/contracts.md` is complete.

use pinlake_clean::Reason;

#[test]
fn the_documentation_lists_every_reason_in_order() {
    let text = include_str!("../../../../docs/contracts.md");
    let table = text.split_once("| Reason |").expect("a table of reasons").1;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| `"));
    let documented: Vec<&str> =
        rows.map(|row| row.split('`').nth(1).expect("a code in the first cell")).collect();
    let codes: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(documented, codes);
}
