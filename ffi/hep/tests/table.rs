//! `docs/hep.md` shows the table of chunks as the code has it.

use std::fmt::Write;

use hep::chunk::{GENERIC, Width};

#[test]
fn documented_chunks_are_those_of_the_table() {
    let mut table = String::from("| id | name | octets | meaning |\n| --- | --- | --- | --- |\n");
    for row in GENERIC {
        let width = match row.width {
            Width::Octets => "any".to_owned(),
            width => width.to_string(),
        };
        writeln!(table, "| 0x{:04x} | {} | {width} | {} |", row.id, row.name, row.doc).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/hep.md");
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.contains(&table), "docs/hep.md should hold this table:\n\n{table}");
}
