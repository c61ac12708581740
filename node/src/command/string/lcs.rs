//! LCS: the longest common subsequence of two strings.
//!
//! The usual table of dynamic programming: its cell (i, j) is the length of the longest common subsequence of
//! the first i bytes of one string and the first j of the other. Walking back from its last cell finds the
//! matches. Only the newest row is kept, and of the others a bit per cell: which way the walk goes where the
//! bytes differ.

use shared::resp::ReplyWriter;

use crate::command::arguments::{integer, is};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};

/// What a cell of Redis's table takes. Its size against `proto-max-bulk-len` bounds the work here, too.
const TABLE_CELL_BYTES: usize = 4;

pub(super) fn lcs<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let keys = [arguments[1], arguments[2]].map(|bytes| context.key(bytes));
    keys.iter().for_each(|key| context.transaction.touch(key));
    let string = |key| match context.transaction.string(key) {
        Err(CommandError::WrongType) => {
            Err(CommandError::text("ERR The specified keys must contain string values"))
        }
        other => Ok(other?.unwrap_or_default()),
    };
    let (a, b) = (string(&keys[0])?, string(&keys[1])?);
    let options = Options::parse(&arguments[3..])?;
    check_table_size(a.len(), b.len(), context.server.node.settings.bulk_bytes_max())?;
    let table = Table::new(&a, &b, !options.length);
    options.reply(&a, &b, &table, &mut context.reply);
    Ok(())
}

fn check_table_size(rows: usize, columns: usize, bytes_max: usize) -> CommandResult {
    let cells = rows.saturating_add(1).saturating_mul(columns.saturating_add(1));
    if cells.saturating_mul(TABLE_CELL_BYTES) > bytes_max {
        return Err(CommandError::text(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    Ok(())
}

#[derive(Default)]
struct Options {
    length: bool,
    indexes: bool,
    with_match_lengths: bool,
    match_length_min: i64,
}

impl Options {
    fn parse(arguments: &[&[u8]]) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if is(argument, "idx") {
                options.indexes = true;
            } else if is(argument, "len") {
                options.length = true;
            } else if is(argument, "withmatchlen") {
                options.with_match_lengths = true;
            } else if is(argument, "minmatchlen") {
                options.match_length_min = integer(arguments.next().ok_or(CommandError::Syntax)?)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.length && options.indexes {
            return Err(CommandError::text(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }

    fn reply(&self, a: &[u8], b: &[u8], table: &Table, reply: &mut ReplyWriter<'_>) {
        if self.length {
            reply.integer(table.length.into());
        } else if self.indexes {
            self.reply_indexes(&table.matches(a, b), table.length, reply);
        } else {
            let parts: Vec<&[u8]> = table.matches(a, b).iter().rev().map(|found| found.of(a)).collect();
            reply.bulk(&parts.concat());
        }
    }

    fn reply_indexes(&self, matches: &[Match], length: u32, reply: &mut ReplyWriter<'_>) {
        let is_wanted = |found: &&Match| found.length as i64 >= self.match_length_min;
        reply.map(2);
        reply.bulk(b"matches");
        reply.array(matches.iter().filter(is_wanted).count());
        for found in matches.iter().filter(is_wanted) {
            reply.array(if self.with_match_lengths { 3 } else { 2 });
            for start in [found.a, found.b] {
                reply.array(2);
                reply.integer(start as i64);
                reply.integer((start + found.length - 1) as i64);
            }
            if self.with_match_lengths {
                reply.integer(found.length as i64);
            }
        }
        reply.bulk(b"len");
        reply.integer(length.into());
    }
}

/// A run of bytes that both strings have, within their longest common subsequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    /// Where it starts in the first string.
    a: usize,
    /// Where it starts in the second.
    b: usize,
    /// Never zero.
    length: usize,
}

impl Match {
    fn of(self, a: &[u8]) -> &[u8] {
        &a[self.a..self.a + self.length]
    }
}

/// What is kept of the table.
struct Table {
    /// The length of the longest common subsequence.
    length: u32,
    columns: usize,
    /// A bit per cell, row by row: whether the cell above it is larger than the one to its left. Empty if nobody
    /// is going to walk.
    upwards: Vec<u64>,
}

impl Table {
    fn new(a: &[u8], b: &[u8], walkable: bool) -> Self {
        let words = if walkable { (a.len() * b.len()).div_ceil(64) } else { 0 };
        let mut table = Self { length: 0, columns: b.len(), upwards: vec![0; words] };
        let mut row = vec![0; b.len() + 1];
        for (place, byte) in a.iter().enumerate() {
            table.fill_row(&mut row, place, *byte, b);
        }
        table.length = row[b.len()];
        table
    }

    /// Turns the row above into that of one more byte.
    fn fill_row(&mut self, row: &mut [u32], place: usize, byte: u8, b: &[u8]) {
        let mut above_left = row[0];
        for (column, other) in b.iter().enumerate() {
            let (above, left) = (row[column + 1], row[column]);
            row[column + 1] = if byte == *other { above_left + 1 } else { above.max(left) };
            let cell = place * self.columns + column;
            if above > left
                && let Some(word) = self.upwards.get_mut(cell / 64)
            {
                *word |= 1 << (cell % 64);
            }
            above_left = above;
        }
    }

    /// The matches, the last first.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let mut matches = Vec::new();
        let mut run = None;
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                let length = run.map_or(0, |run: Match| run.length) + 1;
                run = Some(Match { a: i, b: j, length });
                continue;
            }
            matches.extend(run.take());
            let cell = (i - 1) * self.columns + j - 1;
            if self.upwards[cell / 64] >> (cell % 64) & 1 == 1 { i -= 1 } else { j -= 1 }
        }
        matches.extend(run);
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(a: &str, b: &str, expected: &str, starts: &[(usize, usize)]) {
        let (a, b) = (a.as_bytes(), b.as_bytes());
        let table = Table::new(a, b, true);
        let matches = table.matches(a, b);
        let parts: Vec<&[u8]> = matches.iter().rev().map(|found| found.of(a)).collect();
        assert_eq!(parts.concat(), expected.as_bytes());
        assert_eq!(table.length as usize, expected.len());
        assert_eq!(Table::new(a, b, false).length, table.length);
        assert_eq!(matches.iter().map(|found| (found.a, found.b)).collect::<Vec<_>>(), starts);
    }

    #[test]
    fn the_longest_common_subsequence_is_found() {
        check("ohmytext", "mynewtext", "mytext", &[(4, 5), (2, 0)]);
        check("abc", "abc", "abc", &[(0, 0)]);
        check("abc", "xyz", "", &[]);
        check("", "abc", "", &[]);
        check("abcde", "ace", "ace", &[(4, 2), (2, 1), (0, 0)]);
    }

    #[test]
    fn a_table_beyond_the_limit_is_refused() {
        assert!(check_table_size(9, 9, 400).is_ok());
        assert!(check_table_size(9, 9, 399).is_err());
        assert!(check_table_size(usize::MAX, usize::MAX, 512).is_err());
    }
}
