//! Reading arguments as Redis does.

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

/// Whether an argument is this option, in any case.
pub(crate) fn is(argument: &[u8], option: &str) -> bool {
    argument.eq_ignore_ascii_case(option.as_bytes())
}

/// An argument for an error's text: with what is not UTF-8 replaced.
pub(crate) fn lossy(argument: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(argument)
}
