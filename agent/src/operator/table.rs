//! Prints JSON for people: a list of objects as a table, an object as lines.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Columns that come first, in this order; others follow by name.
const FIRST_COLUMNS: [&str; 5] = ["url", "name", "node_id", "state", "role"];

/// The text of what a node says.
pub(super) fn table(value: &Value) -> String {
    match value {
        Value::Array(rows) => rows_table(rows),
        Value::Object(fields) => lines(fields),
        value => format!("{}\n", cell(value)),
    }
}

fn lines(fields: &Map<String, Value>) -> String {
    let mut out = String::new();
    for (name, value) in fields {
        match value {
            Value::Array(rows) if rows.iter().any(Value::is_object) => {
                out.push_str(&format!("{name}:\n{}", rows_table(rows)));
            }
            value => out.push_str(&format!("{name}: {}\n", cell(value))),
        }
    }
    out
}

fn rows_table(rows: &[Value]) -> String {
    let objects: Vec<_> = rows.iter().filter_map(Value::as_object).collect();
    if objects.len() != rows.len() {
        return rows.iter().map(|row| format!("{}\n", cell(row))).collect();
    }
    let names: BTreeSet<_> = objects.iter().flat_map(|row| row.keys().map(String::as_str)).collect();
    let first = FIRST_COLUMNS.into_iter().filter(|name| names.contains(name));
    let rest = names.iter().copied().filter(|name| !FIRST_COLUMNS.contains(name));
    let columns: Vec<&str> = first.chain(rest).collect();
    let header: Vec<_> = columns.iter().map(|name| name.to_uppercase()).collect();
    let cells = objects
        .iter()
        .map(|row| columns.iter().map(|name| row.get(*name).map_or_else(String::new, cell)).collect());
    let cells: Vec<Vec<String>> = std::iter::once(header).chain(cells).collect();
    let widths: Vec<_> = (0..columns.len())
        .map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    cells.iter().map(line).collect()
}

/// A value in one line.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        Value::Null => "-".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_aligned_with_the_name_first() {
        let members = json!([
            {"age": 5, "name": "a", "state": "member"},
            {"name": "longer", "state": null, "z": [1, 2]},
        ]);
        let expected = "NAME    STATE   AGE  Z\na       member  5\nlonger  -            [1,2]\n";
        assert_eq!(table(&members), expected);
    }

    #[test]
    fn objects_are_lines_with_tables_in_them() {
        let value = json!({"group": "g", "members": [{"name": "a"}], "none": []});
        assert_eq!(table(&value), "group: g\nmembers:\nNAME\na\nnone: []\n");
        assert_eq!(table(&json!("OK")), "OK\n");
    }
}
