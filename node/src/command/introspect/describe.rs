//! What COMMAND INFO tells of a command: ten elements.
//!
//! ```text
//! name  arity  flags  first key  last key  step  ACL categories  tips  key specifications  subcommands
//! ```

use shared::resp::ReplyWriter;

use super::traits::{self, KeySpec};
use crate::command::table::{self, Row};
use crate::command::{Command, Keys};

pub(super) fn describe(reply: &mut ReplyWriter<'_>, row: &Command) {
    let (first, last, step) = range(row).unwrap_or_default();
    reply.array(10);
    reply.bulk(row.name.as_bytes());
    reply.integer(row.arity.into());
    let flags: Vec<&str> = traits::flags(row).collect();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.simple(flag));
    [first, last, step].into_iter().for_each(|number| reply.integer(number));
    let categories: Vec<&str> = traits::categories(row).collect();
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.simple(&format!("@{category}")));
    let tips = traits::tips(row.name);
    reply.set(tips.len());
    tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    describe_keys(reply, row);
    describe_subcommands(reply, row);
}

/// Where the keys stand: the first, the last, which counts from the end if negative, and the step between them.
fn range(row: &Command) -> Option<(i64, i64, i64)> {
    match row.keys {
        Keys::Range { first, last, step } => Some((first as i64, last as i64, step as i64)),
        Keys::Counted { target: true, .. } | Keys::Sort => Some((1, 1, 1)),
        Keys::None | Keys::Counted { .. } | Keys::All => None,
    }
}

/// A specification begins at a place and goes on from there to the last key, which counts from that place.
fn describe_keys(reply: &mut ReplyWriter<'_>, row: &Command) {
    let specs = traits::key_specs(row);
    reply.set(specs.len());
    for KeySpec { keys, flags } in specs {
        reply.map(3);
        reply.bulk(b"flags");
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.simple(flag));
        match keys {
            Some(Keys::Range { first, last, step }) => {
                describe_step(reply, "begin_search", "index", &[("index", first as i64)]);
                let last = if last < 0 { last } else { last - first as isize };
                let range = [("lastkey", last as i64), ("keystep", step as i64), ("limit", 0)];
                describe_step(reply, "find_keys", "range", &range);
            }
            Some(Keys::Counted { count, .. }) => {
                describe_step(reply, "begin_search", "index", &[("index", count as i64)]);
                let counted = [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)];
                describe_step(reply, "find_keys", "keynum", &counted);
            }
            _ => {
                describe_step(reply, "begin_search", "unknown", &[]);
                describe_step(reply, "find_keys", "unknown", &[]);
            }
        }
    }
}

fn describe_step(reply: &mut ReplyWriter<'_>, name: &str, kind: &str, numbers: &[(&str, i64)]) {
    reply.bulk(name.as_bytes());
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(numbers.len());
    for (field, number) in numbers {
        reply.bulk(field.as_bytes());
        reply.integer(*number);
    }
}

/// As Redis, an empty set but an array of them.
fn describe_subcommands(reply: &mut ReplyWriter<'_>, row: &Command) {
    let subcommands: Vec<&Row> = table::subcommands(row).collect();
    if subcommands.is_empty() {
        return reply.set(0);
    }
    reply.array(subcommands.len());
    subcommands.iter().for_each(|row| describe(reply, row));
}

#[cfg(test)]
mod tests {
    use shared::resp::Protocol;

    use super::*;

    #[test]
    fn a_command_is_told_in_ten_elements() {
        let mut out = Vec::new();
        let row = table::find(b"watch").unwrap();
        describe(&mut ReplyWriter::new(&mut out, Protocol::Resp3), row);
        let expected = "*10\r\n$5\r\nwatch\r\n:-2\r\n~5\r\n+noscript\r\n+loading\r\n+stale\r\n+fast\r\n\
                        +allow_busy\r\n:1\r\n:-1\r\n:1\r\n~2\r\n+@fast\r\n+@transaction\r\n~0\r\n~1\r\n%3\r\n\
                        $5\r\nflags\r\n~1\r\n+RO\r\n$12\r\nbegin_search\r\n%2\r\n$4\r\ntype\r\n$5\r\nindex\r\n\
                        $4\r\nspec\r\n%1\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n%2\r\n$4\r\ntype\r\n\
                        $5\r\nrange\r\n$4\r\nspec\r\n%3\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n\
                        $5\r\nlimit\r\n:0\r\n~0\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
