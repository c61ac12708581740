//! What LMPOP, ZMPOP and their blocking forms are asked for.

use super::arguments::{at_least, is, key_count};
use crate::error::CommandError;

/// Up to `count` elements from one end of the first of these keys that holds any.
pub(super) struct Popping<'r, 'a, E> {
    pub(super) keys: &'r [&'a [u8]],
    pub(super) end: E,
    pub(super) count: usize,
}

impl<'r, 'a, E> Popping<'r, 'a, E> {
    /// Reads it from the number of keys on.
    pub(super) fn parse(
        arguments: &'r [&'a [u8]],
        parse_end: impl Fn(&[u8]) -> Result<E, CommandError>,
    ) -> Result<Self, CommandError> {
        let keys_on = arguments[1..].split_at_checked(key_count(arguments[0])?);
        let (keys, rest) = keys_on.ok_or(CommandError::Syntax)?;
        let (end, rest) = rest.split_first().ok_or(CommandError::Syntax)?;
        let end = parse_end(end)?;
        let count = match rest {
            [] => 1,
            [option, count, rest @ ..] if is(option, "count") => {
                let count = at_least(count, 1, "ERR count should be greater than 0")?;
                if rest.is_empty() { count } else { return Err(CommandError::Syntax) }
            }
            _ => return Err(CommandError::Syntax),
        };
        Ok(Self { keys, end, count })
    }
}
