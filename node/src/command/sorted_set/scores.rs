//! Scores, and intervals of them and of names, as clients write them.

use shared::resp::{Protocol, ReplyWriter};

use crate::command::string::long_double::LongDouble;
use crate::error::CommandError;
use crate::store::collection::Collection;

/// A score: any double but NaN. One too large or too small for a double is refused, as Redis does.
pub(in crate::command) fn parse_score(text: &[u8]) -> Result<f64, CommandError> {
    let names_infinity = text.iter().any(|byte| byte.eq_ignore_ascii_case(&b'n'));
    let is_zero =
        !text.iter().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'));
    parse_double(text)
        .filter(|value| (value.is_finite() || names_infinity) && (*value != 0.0 || is_zero))
        .ok_or(CommandError::NotFloat)
}

/// As C's `strtod` reads a whole text, but without spaces before it.
fn parse_double(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let value = match text.parse::<f64>() {
        Ok(value) => value,
        // Hexadecimal.
        Err(_) => LongDouble::parse(text.as_bytes())?.to_string().parse().ok()?,
    };
    (!value.is_nan()).then_some(value)
}

/// An end of an interval of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ScoreEnd {
    score: f64,
    is_excluded: bool,
}

impl ScoreEnd {
    fn parse(text: &[u8]) -> Option<Self> {
        // Where C's strings end.
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let (score, is_excluded) = match text {
            [b'(', score @ ..] => (score, true),
            score => (score, false),
        };
        // Nothing at all is zero, as for `strtod`.
        let score = if score.is_empty() { 0.0 } else { parse_double(score)? };
        Some(Self { score, is_excluded })
    }
}

/// An interval of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ScoreInterval {
    min: ScoreEnd,
    max: ScoreEnd,
}

impl ScoreInterval {
    pub(super) fn parse(min: &[u8], max: &[u8]) -> Result<Self, CommandError> {
        let ends = ScoreEnd::parse(min).zip(ScoreEnd::parse(max));
        let (min, max) = ends.ok_or(CommandError::text("ERR min or max is not a float"))?;
        Ok(Self { min, max })
    }

    /// The ranks of the members whose scores lie in it.
    pub(super) fn ranks(self, set: Collection<'_>) -> std::ops::Range<usize> {
        let Self { min, max } = self;
        let start = set.rank_where(|score, _| score < min.score || (min.is_excluded && score == min.score));
        let end = set.rank_where(|score, _| score < max.score || (!max.is_excluded && score == max.score));
        start..end.max(start)
    }
}

/// An end of an interval of names.
#[derive(Clone, Copy, Debug, PartialEq)]
enum NameEnd<'a> {
    BeforeAll,
    Included(&'a [u8]),
    Excluded(&'a [u8]),
    AfterAll,
}

impl<'a> NameEnd<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        match text {
            b"-" => Some(Self::BeforeAll),
            b"+" => Some(Self::AfterAll),
            [b'[', name @ ..] => Some(Self::Included(name)),
            [b'(', name @ ..] => Some(Self::Excluded(name)),
            _ => None,
        }
    }
}

/// An interval of names, for members of equal scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NameInterval<'a> {
    min: NameEnd<'a>,
    max: NameEnd<'a>,
}

impl<'a> NameInterval<'a> {
    pub(super) fn parse(min: &'a [u8], max: &'a [u8]) -> Result<Self, CommandError> {
        let ends = NameEnd::parse(min).zip(NameEnd::parse(max));
        let (min, max) = ends.ok_or(CommandError::text("ERR min or max not valid string range item"))?;
        Ok(Self { min, max })
    }

    /// The ranks of the members whose names lie in it.
    pub(super) fn ranks(self, set: Collection<'_>) -> std::ops::Range<usize> {
        let start = set.rank_where(|_, name| match self.min {
            NameEnd::BeforeAll => false,
            NameEnd::Included(min) => name < min,
            NameEnd::Excluded(min) => name <= min,
            NameEnd::AfterAll => true,
        });
        let end = set.rank_where(|_, name| match self.max {
            NameEnd::BeforeAll => false,
            NameEnd::Included(max) => name <= max,
            NameEnd::Excluded(max) => name < max,
            NameEnd::AfterAll => true,
        });
        start..end.max(start)
    }
}

/// The head of a reply of members. With scores each stands in an array of its own, but for clients that know RESP2 only.
pub(super) fn reply_head(reply: &mut ReplyWriter<'_>, count: usize, with_scores: bool) {
    let is_flat = with_scores && reply.protocol() == Protocol::Resp2;
    reply.array(if is_flat { 2 * count } else { count });
}

pub(super) fn reply_member(reply: &mut ReplyWriter<'_>, member: &[u8], score: f64, with_scores: bool) {
    if with_scores && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    reply.bulk(member);
    if with_scores {
        reply.double(score);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read_as_redis_reads_them() {
        for (text, expected) in [
            (&b"1.5"[..], Some(1.5)),
            (b"+inf", Some(f64::INFINITY)),
            (b"-Infinity", Some(f64::NEG_INFINITY)),
            (b"0x10", Some(16.0)),
            (b"0e5", Some(0.0)),
            (b"1e400", None),
            (b"1e-400", None),
            (b"nan", None),
            (b"", None),
            (b" 1", None),
            (b"1x", None),
        ] {
            assert_eq!(parse_score(text).ok(), expected, "{}", String::from_utf8_lossy(text));
        }
    }
}
