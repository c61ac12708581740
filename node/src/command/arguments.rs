//! Reading arguments as Redis does.

use std::borrow::Cow;

use crate::error::CommandError;
use crate::store::rich::parse_integer;

/// A whole number of 64 bits.
pub(crate) fn integer(argument: &[u8]) -> Result<i64, CommandError> {
    parse_integer(argument).ok_or(CommandError::NotInteger)
}

/// A whole number within a range; outside of it the error is that of no number at all.
pub(crate) fn integer_within(
    argument: &[u8],
    range: std::ops::RangeInclusive<i64>,
) -> Result<i64, CommandError> {
    integer(argument)
        .and_then(|value| if range.contains(&value) { Ok(value) } else { Err(CommandError::NotInteger) })
}

/// A whole number of at least `least`, which is not negative; otherwise this error, as for what is no number.
pub(crate) fn at_least(argument: &[u8], least: i64, error: &'static str) -> Result<usize, CommandError> {
    let number = integer(argument).ok().filter(|number| *number >= least);
    number
        .map(|number| usize::try_from(number).unwrap_or(usize::MAX))
        .ok_or_else(|| CommandError::text(error))
}

/// How many are asked for, where none is not too few.
pub(crate) fn count(argument: &[u8]) -> Result<usize, CommandError> {
    at_least(argument, 0, "ERR value is out of range, must be positive")
}

/// The number of keys that follow.
pub(crate) fn key_count(argument: &[u8]) -> Result<usize, CommandError> {
    at_least(argument, 1, "ERR numkeys should be greater than 0")
}

/// What `LIMIT number` lets through at most, of several the last; zero is no limit.
pub(crate) fn limit(options: &[&[u8]]) -> Result<usize, CommandError> {
    let (pairs, rest) = options.as_chunks();
    let mut limit = 0;
    for [option, number] in pairs {
        if !is(option, "limit") {
            return Err(CommandError::Syntax);
        }
        limit = at_least(number, 0, "ERR LIMIT can't be negative")?;
    }
    if rest.is_empty() { Ok(if limit == 0 { usize::MAX } else { limit }) } else { Err(CommandError::Syntax) }
}

/// Whether an argument is this option, in any case.
pub(crate) fn is(argument: &[u8], option: &str) -> bool {
    argument.eq_ignore_ascii_case(option.as_bytes())
}

/// An argument as text: with what is not UTF-8 replaced.
pub(crate) fn lossy(argument: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(argument)
}

/// An argument as Redis quotes it in an error: up to its first zero byte, where C's strings end. What is not UTF-8 is
/// replaced.
pub(crate) fn quoted(argument: &[u8]) -> Cow<'_, str> {
    lossy(argument.split(|byte| *byte == 0).next().unwrap_or_default())
}

/// The ranks from one to another, which count from the end if negative, as those of LRANGE do.
pub(crate) fn ranks_between(start: i64, stop: i64, length: usize) -> std::ops::Range<usize> {
    let length = length as i64;
    let from_end = |rank: i64| if rank < 0 { (rank + length).max(0) } else { rank };
    let start = from_end(start);
    let stop = if stop < 0 { stop + length } else { stop }.min(length - 1);
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_quoted_up_to_its_first_zero_byte() {
        assert_eq!(quoted(b"ab\0cd"), "ab");
        assert_eq!(quoted(b"\0"), "");
        assert_eq!(quoted(b"a\xff"), "a\u{fffd}");
    }

    #[test]
    fn ranks_count_from_either_end() {
        for (start, stop, expected) in [
            (0, -1, 0..5),
            (1, 2, 1..3),
            (-2, -1, 3..5),
            (-100, 100, 0..5),
            (3, 1, 0..0),
            (5, 9, 0..0),
            (0, -9, 0..0),
            (i64::MIN, i64::MAX, 0..5),
        ] {
            assert_eq!(ranks_between(start, stop, 5), expected, "{start} {stop}");
        }
    }
}
