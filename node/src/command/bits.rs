//! GETBIT, SETBIT, BITCOUNT, BITPOS and BITOP: strings as runs of bits, of a byte the highest first.

use std::ops::Range;

use super::Access::{Read, Write};
use super::arguments::{integer, is};
use super::context::Context;
use super::string::range::{is_backwards, span};
use super::{Command, Keys};
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::rich::parse_integer;
use crate::transaction::NewTtl;

/// Redis's flags of commands that may need more memory.
const GROWS: &[&str] = &["denyoom"];

/// The target and the sources.
const BITOP_KEYS: Keys = Keys::Range { first: 2, last: -1, step: 1 };

pub(super) const COMMANDS: &[Command] = &[
    Command { name: "getbit", arity: 3, access: Read, flags: &["fast"], keys: Keys::ONE, handler: getbit },
    Command { name: "setbit", arity: 4, access: Write, flags: GROWS, keys: Keys::ONE, handler: setbit },
    Command { name: "bitcount", arity: -2, access: Read, flags: &[], keys: Keys::ONE, handler: bitcount },
    Command { name: "bitpos", arity: -3, access: Read, flags: &[], keys: Keys::ONE, handler: bitpos },
    Command { name: "bitop", arity: -4, access: Write, flags: GROWS, keys: BITOP_KEYS, handler: bitop },
];

/// A place in a string that may be addressed: its byte lies within the longest string permitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct BitOffset(pub(super) usize);

impl BitOffset {
    /// Reads how many units of `unit_bits` lie before the place.
    pub(super) fn parse(
        argument: &[u8],
        unit_bits: i64,
        context: &Context<'_, '_>,
    ) -> Result<Self, CommandError> {
        let bytes_max = context.server.node.settings.bulk_bytes_max();
        let bits = parse_integer(argument).and_then(|units| units.checked_mul(unit_bits));
        let offset = bits.and_then(|bits| usize::try_from(bits).ok()).filter(|bits| bits / 8 < bytes_max);
        offset.map(Self).ok_or(CommandError::text("ERR bit offset is not an integer or out of range"))
    }

    const fn byte(self) -> usize {
        self.0 / 8
    }

    /// The bit within its byte.
    const fn mask(self) -> u8 {
        0x80 >> (self.0 % 8)
    }

    fn is_set(self, bytes: &[u8]) -> bool {
        bytes.get(self.byte()).is_some_and(|byte| byte & self.mask() != 0)
    }
}

fn getbit<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let offset = BitOffset::parse(arguments[2], 1, context)?;
    let key = context.key(arguments[1]);
    let value = context.transaction.read_string(&key)?;
    context.reply.integer(value.is_some_and(|value| offset.is_set(&value)).into());
    Ok(())
}

fn setbit<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let offset = BitOffset::parse(arguments[2], 1, context)?;
    let on = match parse_integer(arguments[3]) {
        Some(bit @ (0 | 1)) => bit == 1,
        _ => return Err(CommandError::text("ERR bit is not an integer or out of range")),
    };
    let key = context.key(arguments[1]);
    let held = context.transaction.string(&key)?.unwrap_or_default();
    let was_on = offset.is_set(&held);
    context.reply.integer(was_on.into());
    if on != was_on || offset.byte() >= held.len() {
        let held = held.into_owned();
        let mut whole = grown(held, offset.byte() + 1, context)?;
        whole[offset.byte()] ^= if on == was_on { 0 } else { offset.mask() };
        context.transaction.write_string(&key, whole)?;
        context.transaction.notify(Class::String, "setbit", &key);
    }
    Ok(())
}

/// Fills up with zeros to a length, if that is permitted.
pub(super) fn grown(
    mut bytes: Vec<u8>,
    length: usize,
    context: &Context<'_, '_>,
) -> Result<Vec<u8>, CommandError> {
    if length > bytes.len() {
        context.transaction.reserve(length)?;
        bytes.resize(length, 0);
    }
    Ok(bytes)
}

fn bitcount<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    // As in Redis, what is wrong with the range is told only where there is a value.
    let Some(value) = context.transaction.read_string(&key)? else {
        context.reply.integer(0);
        return Ok(());
    };
    let bits = match arguments[2..] {
        [] => Some(0..value.len() * 8),
        [start, end] => count_span(start, end, None, value.len())?,
        [start, end, unit] => count_span(start, end, Some(unit), value.len())?,
        _ => return Err(CommandError::Syntax),
    };
    context.reply.integer(bits.map_or(0, |bits| count_ones(&value, bits)) as i64);
    Ok(())
}

fn count_span(
    start: &[u8],
    end: &[u8],
    unit: Option<&[u8]>,
    bytes: usize,
) -> Result<Option<Range<usize>>, CommandError> {
    let (start, end) = (integer(start)?, integer(end)?);
    if is_backwards(start, end) {
        return Ok(None);
    }
    Ok(bit_span(start, end, unit_bits(unit)?, bytes))
}

/// How many bits the unit has in which a range is told, a byte's if it is not said.
fn unit_bits(unit: Option<&[u8]>) -> Result<usize, CommandError> {
    match unit {
        Some(unit) if is(unit, "bit") => Ok(1),
        Some(unit) if !is(unit, "byte") => Err(CommandError::Syntax),
        _ => Ok(8),
    }
}

/// The bits from unit `start` to unit `end`.
fn bit_span(start: i64, end: i64, unit_bits: usize, bytes: usize) -> Option<Range<usize>> {
    let units = span(start, end, bytes * 8 / unit_bits)?;
    Some(units.start * unit_bits..units.end * unit_bits)
}

/// Counts the bits that are set in a range that is not empty, or in no bytes at all.
fn count_ones(bytes: &[u8], bits: Range<usize>) -> u64 {
    let touched = &bytes[bits.start / 8..bits.end.div_ceil(8)];
    let before = touched.first().map_or(0, |first| first & !(0xff >> (bits.start % 8)));
    let behind = touched
        .last()
        .filter(|_| !bits.end.is_multiple_of(8))
        .map_or(0, |last| last & (0xff >> (bits.end % 8)));
    let (words, rest) = touched.as_chunks();
    let in_words = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones()));
    let in_rest = rest.iter().map(|byte| u64::from(byte.count_ones()));
    in_words.chain(in_rest).sum::<u64>() - u64::from(before.count_ones()) - u64::from(behind.count_ones())
}

fn bitpos<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let wanted = match integer(arguments[2])? {
        bit @ (0 | 1) => bit == 1,
        _ => return Err(CommandError::text("ERR The bit argument must be 1 or 0.")),
    };
    let key = context.key(arguments[1]);
    let Some(value) = context.transaction.read_string(&key)? else {
        context.reply.integer(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let (bits, ends) = match arguments[3..] {
        [] => (bit_span(0, -1, 8, value.len()), false),
        [start] => (bit_span(integer(start)?, -1, 8, value.len()), false),
        [start, end] => (bit_span(integer(start)?, integer(end)?, 8, value.len()), true),
        [start, end, unit] => {
            let start = integer(start)?;
            let unit_bits = unit_bits(Some(unit))?;
            (bit_span(start, integer(end)?, unit_bits, value.len()), true)
        }
        _ => return Err(CommandError::Syntax),
    };
    let place = bits.and_then(|bits| {
        // Behind the string's end all bits are clear, and somebody who names no end may be told so.
        first_bit(&value, bits, wanted).or_else(|| (!wanted && !ends).then_some(value.len() * 8))
    });
    context.reply.integer(place.map_or(-1, |place| place as i64));
    Ok(())
}

/// The first bit that is as wanted in a range that is not empty.
fn first_bit(bytes: &[u8], bits: Range<usize>, wanted: bool) -> Option<usize> {
    let skipped = if wanted { 0 } else { 0xff };
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    // The bits that are as wanted and within the range.
    let hits = |at: usize| {
        let head = if at == first { 0xff >> (bits.start % 8) } else { 0xff };
        let tail = if at == last { 0xff << (7 - (bits.end - 1) % 8) } else { 0xff_u8 };
        (bytes[at] ^ skipped) & head & tail
    };
    let inner = bytes.get(first + 1..last).unwrap_or_default();
    let after = first_unlike(inner, skipped).map_or(last, |place| first + 1 + place);
    let at = [first, after].into_iter().find(|at| hits(*at) != 0)?;
    Some(at * 8 + hits(at).leading_zeros() as usize)
}

/// Where the first byte is that differs from `skipped`. Skips many at once, as bitmaps may be long and empty.
fn first_unlike(bytes: &[u8], skipped: u8) -> Option<usize> {
    let run = [skipped; 64];
    let skip = bytes.as_chunks().0.iter().take_while(|chunk| **chunk == run).count() * run.len();
    bytes[skip..].iter().position(|byte| *byte != skipped).map(|place| skip + place)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn parse(argument: &[u8]) -> Result<Self, CommandError> {
        let names = [("and", Self::And), ("or", Self::Or), ("xor", Self::Xor), ("not", Self::Not)];
        let named = names.into_iter().find(|(name, _)| is(argument, name));
        named.map(|(_, operation)| operation).ok_or(CommandError::Syntax)
    }

    /// Works another source into the result; the shorter of the two counts as filled up with zeros.
    fn fold(self, result: &mut Vec<u8>, source: &[u8]) {
        if result.len() < source.len() {
            result.resize(source.len(), 0);
        }
        let (common, rest) = result.split_at_mut(source.len());
        let pairs = common.iter_mut().zip(source);
        match self {
            Self::And => pairs.for_each(|(byte, other)| *byte &= other),
            Self::Or => pairs.for_each(|(byte, other)| *byte |= other),
            Self::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
            Self::Not => {}
        }
        if self == Self::And {
            rest.fill(0);
        }
    }
}

fn bitop<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let operation = Operation::parse(arguments[1])?;
    let (target, sources) = (context.key(arguments[2]), &arguments[3..]);
    if operation == Operation::Not && sources.len() != 1 {
        return Err(CommandError::text("ERR BITOP NOT must be called with a single source key."));
    }
    let mut result: Option<Vec<u8>> = None;
    for source in sources {
        let key = context.key(source);
        let value = context.transaction.read_string(&key)?.unwrap_or_default();
        match &mut result {
            None => result = Some(value.into_owned()),
            Some(result) => operation.fold(result, &value),
        }
    }
    let mut result = result.unwrap_or_default();
    if operation == Operation::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    context.reply.integer(result.len() as i64);
    if result.is_empty() {
        context.transaction.delete(&target)?;
        return Ok(());
    }
    context.transaction.set(&target, result, NewTtl::Clear)?;
    context.transaction.notify(Class::String, "set", &target);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with what looking at bit after bit finds.
    #[test]
    fn ranges_of_bits_are_searched_and_counted() {
        let mut bytes = vec![0; 200];
        bytes[1] = 0b0001_1000;
        bytes[199] = 0b0000_0001;
        bytes[70..150].fill(0xff);
        let is_set = |bit: &usize| bytes[bit / 8] & 0x80 >> (bit % 8) != 0;
        for start in (0..1600).step_by(7) {
            for end in (start + 1..1600).step_by(11).chain([1600]) {
                assert_eq!(count_ones(&bytes, start..end), (start..end).filter(is_set).count() as u64);
                assert_eq!(first_bit(&bytes, start..end, true), (start..end).find(is_set));
                assert_eq!(first_bit(&bytes, start..end, false), (start..end).find(|bit| !is_set(bit)));
            }
        }
    }

    #[track_caller]
    fn check_fold(operation: Operation, expected: [&[u8]; 2]) {
        for (a, b, expected) in [(&[0b1100][..], &[0b1010, 7][..], expected[0]), (&[9, 9], &[1], expected[1])]
        {
            let mut result = a.to_vec();
            operation.fold(&mut result, b);
            assert_eq!(result, expected);
        }
    }

    #[test]
    fn the_shorter_source_counts_as_filled_up_with_zeros() {
        check_fold(Operation::And, [&[0b1000, 0], &[1, 0]]);
        check_fold(Operation::Or, [&[0b1110, 7], &[9, 9]]);
        check_fold(Operation::Xor, [&[0b0110, 7], &[8, 9]]);
    }
}
