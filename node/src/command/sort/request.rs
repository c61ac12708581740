//! What stands behind SORT's key.

use std::ops::Range;

use super::pattern::Pattern;
use crate::command::arguments::{integer, is};
use crate::error::CommandError;

/// What is asked of SORT.
#[derive(Default)]
pub(super) struct Request<'a> {
    pub(super) descending: bool,
    /// Compares bytes, not numbers.
    pub(super) alphabetical: bool,
    /// What elements are compared by; by themselves if nothing.
    pub(super) by: Option<Pattern<'a>>,
    /// BY names one key for all elements: there is nothing to compare.
    pub(super) keeps_order: bool,
    /// What is told of each element; itself if nothing.
    pub(super) get: Vec<Pattern<'a>>,
    pub(super) store: Option<&'a [u8]>,
    /// The first place, and how many; all if negative.
    limit: Option<(i64, i64)>,
}

impl<'a> Request<'a> {
    pub(super) fn parse(may_store: bool, arguments: &[&'a [u8]]) -> Result<Self, CommandError> {
        let mut request = Self::default();
        let mut rest = arguments;
        loop {
            rest = match rest {
                [] => return Ok(request),
                [option, rest @ ..] if is(option, "asc") || is(option, "desc") => {
                    request.descending = is(option, "desc");
                    rest
                }
                [option, rest @ ..] if is(option, "alpha") => {
                    request.alphabetical = true;
                    rest
                }
                [option, start, count, rest @ ..] if is(option, "limit") => {
                    request.limit = Some((integer(start)?, integer(count)?));
                    rest
                }
                [option, target, rest @ ..] if may_store && is(option, "store") => {
                    request.store = Some(target);
                    rest
                }
                [option, pattern, rest @ ..] if is(option, "by") => {
                    request.by = Some(Pattern::new(pattern));
                    request.keeps_order |= !pattern.contains(&b'*');
                    rest
                }
                [option, pattern, rest @ ..] if is(option, "get") => {
                    request.get.push(Pattern::new(pattern));
                    rest
                }
                _ => return Err(CommandError::Syntax),
            };
        }
    }

    /// Whether keys are read that only the elements name.
    pub(super) fn reads_unnamed(&self) -> bool {
        self.by.iter().chain(&self.get).any(|pattern| matches!(pattern, Pattern::Key { .. }))
    }

    /// The places that LIMIT leaves of so many.
    pub(super) fn places(&self, length: usize) -> Range<usize> {
        let Some((start, count)) = self.limit else { return 0..length };
        let start = usize::try_from(start.max(0)).unwrap_or(usize::MAX).min(length);
        let count = usize::try_from(count).unwrap_or(length);
        start..start.saturating_add(count).min(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_stay_within_the_elements() {
        for (limit, expected) in [
            ((1, 2), 1..3),
            ((-5, 2), 0..2),
            ((3, -1), 3..5),
            ((4, 9), 4..5),
            ((7, 1), 5..5),
            ((i64::MAX, i64::MAX), 5..5),
        ] {
            let request = Request { limit: Some(limit), ..Request::default() };
            assert_eq!(request.places(5), expected, "{limit:?}");
        }
    }
}
