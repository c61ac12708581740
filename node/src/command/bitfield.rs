//! BITFIELD and BITFIELD_RO: strings as integers of any width at any bit.

use std::ops::Range;

use smallvec::SmallVec;

use super::Access::{Read, Write};
use super::arguments::{integer, is};
use super::bits::{BitOffset, grown};
use super::context::Context;
use super::{Command, Keys};
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::rich::parse_integer;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "bitfield",
        arity: -2,
        access: Write,
        flags: &["denyoom"],
        keys: Keys::ONE,
        handler: bitfield,
    },
    Command {
        name: "bitfield_ro",
        arity: -2,
        access: Read,
        flags: &["fast"],
        keys: Keys::ONE,
        handler: bitfield_ro,
    },
];

/// Where an integer lies, and of which type it is.
#[derive(Clone, Copy, Debug)]
struct Field {
    /// The place of its first bit.
    offset: usize,
    /// At least 1; at most 64, and one less if it has no sign.
    bits: u32,
    signed: bool,
}

/// What becomes of a value that does not fit its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    /// Its lowest bits are taken.
    Wrap,
    /// The nearest that fits is taken.
    Saturate,
    /// Nothing is written.
    Fail,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    /// Replies with the old value.
    Set(i64, Overflow),
    /// Replies with the new value.
    Add(i64, Overflow),
}

type Steps = SmallVec<[(Field, Action); 4]>;

fn bitfield<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let steps = parse(&arguments[2..], context)?;
    let key = context.key(arguments[1]);
    let Some(length) = written_length(&steps) else { return read(context, arguments[1], &steps) };
    let held = context.transaction.string(&key)?.unwrap_or_default().into_owned();
    // As in Redis, the string grows even if all that is to be written fails for an overflow.
    let mut changes = held.len() < length;
    let mut bytes = grown(held, length, context)?;
    context.reply.array(steps.len());
    for (field, action) in steps {
        let old = field.read(&bytes);
        match field.outcome(old, action) {
            None => context.reply.null(),
            Some(new) => {
                context.reply.integer(if matches!(action, Action::Add(..)) { new } else { old });
                if new != old {
                    field.write(&mut bytes, new);
                    changes = true;
                }
            }
        }
    }
    if changes {
        context.transaction.write_string(&key, bytes)?;
        context.transaction.notify(Class::String, "setbit", &key);
    }
    Ok(())
}

fn bitfield_ro<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let steps = parse(&arguments[2..], context)?;
    if written_length(&steps).is_some() {
        return Err(CommandError::text("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    read(context, arguments[1], &steps)
}

/// Carries out what only reads.
fn read<'a>(context: &mut Context<'_, 'a>, key: &'a [u8], steps: &Steps) -> CommandResult {
    let key = context.key(key);
    let bytes = context.transaction.read_string(&key)?.unwrap_or_default();
    context.reply.array(steps.len());
    for (field, _) in steps {
        context.reply.integer(field.read(&bytes));
    }
    Ok(())
}

/// The length that a string needs for all that is written, if anything is.
fn written_length(steps: &Steps) -> Option<usize> {
    let writes = steps.iter().filter(|(_, action)| !matches!(action, Action::Get));
    writes.map(|(field, _)| (field.offset + field.bits as usize).div_ceil(8)).max()
}

fn parse(arguments: &[&[u8]], context: &Context<'_, '_>) -> Result<Steps, CommandError> {
    let mut steps = Steps::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = arguments;
    loop {
        rest = match *rest {
            [] => return Ok(steps),
            [name, field, offset, ref rest @ ..] if is(name, "get") => {
                steps.push((Field::parse(field, offset, context)?, Action::Get));
                rest
            }
            [name, field, offset, value, ref rest @ ..] if is(name, "set") => {
                let field = Field::parse(field, offset, context)?;
                steps.push((field, Action::Set(integer(value)?, overflow)));
                rest
            }
            [name, field, offset, by, ref rest @ ..] if is(name, "incrby") => {
                let field = Field::parse(field, offset, context)?;
                steps.push((field, Action::Add(integer(by)?, overflow)));
                rest
            }
            [name, kind, ref rest @ ..] if is(name, "overflow") => {
                overflow = Overflow::parse(kind)?;
                rest
            }
            _ => return Err(CommandError::Syntax),
        }
    }
}

impl Overflow {
    fn parse(argument: &[u8]) -> Result<Self, CommandError> {
        let names = [("wrap", Self::Wrap), ("sat", Self::Saturate), ("fail", Self::Fail)];
        let named = names.into_iter().find(|(name, _)| is(argument, name));
        named.map(|(_, kind)| kind).ok_or(CommandError::text("ERR Invalid OVERFLOW type specified"))
    }
}

impl Field {
    /// Reads a type such as `u8` and an offset in bits or, behind a `#`, in widths of the type.
    fn parse(kind: &[u8], offset: &[u8], context: &Context<'_, '_>) -> Result<Self, CommandError> {
        const INVALID: CommandError = CommandError::text(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        );
        let (signed, width) = match kind {
            [b'i', width @ ..] => (true, width),
            [b'u', width @ ..] => (false, width),
            _ => return Err(INVALID),
        };
        let widest = if signed { 64 } else { 63 };
        let width = parse_integer(width).filter(|width| (1..=widest).contains(width)).ok_or(INVALID)?;
        let offset = match offset {
            [b'#', widths @ ..] => BitOffset::parse(widths, width, context)?,
            bits => BitOffset::parse(bits, 1, context)?,
        };
        Ok(Self { offset: offset.0, bits: width as u32, signed })
    }

    /// The smallest and the largest value of the type.
    const fn limits(self) -> (i64, i64) {
        if self.signed {
            (i64::MIN >> (64 - self.bits), i64::MAX >> (64 - self.bits))
        } else {
            (0, (u64::MAX >> (64 - self.bits)) as i64)
        }
    }

    /// The lowest bits of a value as one of this type.
    const fn wrap(self, value: i64) -> i64 {
        let unused = 64 - self.bits;
        if self.signed { value << unused >> unused } else { ((value as u64) << unused >> unused) as i64 }
    }

    /// The value after the action; none if it fails for an overflow.
    fn outcome(self, old: i64, action: Action) -> Option<i64> {
        let (sought, overflow) = match action {
            Action::Get => return Some(old),
            // What is set in a type without sign has none either: -1 is too large, not too small.
            Action::Set(value, overflow) if !self.signed => (i128::from(value as u64), overflow),
            Action::Set(value, overflow) => (i128::from(value), overflow),
            Action::Add(by, overflow) => (i128::from(old) + i128::from(by), overflow),
        };
        let (least, most) = self.limits();
        let clamped = sought.clamp(least.into(), most.into());
        match overflow {
            _ if clamped == sought => Some(sought as i64),
            Overflow::Wrap => Some(self.wrap(sought as i64)),
            Overflow::Saturate => Some(clamped as i64),
            Overflow::Fail => None,
        }
    }

    /// How far the field's last bit lies from the end of the 16 bytes that start with its first byte.
    const fn distance(self) -> u32 {
        u128::BITS - (self.offset % 8) as u32 - self.bits
    }

    /// The bytes from the field's first on, at most 16, and those as one number. Behind the string's end all
    /// are zero.
    fn window(self, bytes: &[u8]) -> (Range<usize>, u128) {
        let start = (self.offset / 8).min(bytes.len());
        let range = start..bytes.len().min(start + size_of::<u128>());
        let mut window = [0; size_of::<u128>()];
        window[..range.len()].copy_from_slice(&bytes[range.clone()]);
        (range, u128::from_be_bytes(window))
    }

    fn read(self, bytes: &[u8]) -> i64 {
        let (_, window) = self.window(bytes);
        self.wrap((window >> self.distance()) as i64)
    }

    /// Writes what fits the type where there are bytes for it.
    fn write(self, bytes: &mut [u8], value: i64) {
        let (range, window) = self.window(bytes);
        let mask = u128::from(u64::MAX >> (64 - self.bits)) << self.distance();
        let value = u128::from(value as u64) << self.distance() & mask;
        let window = (window & !mask | value).to_be_bytes();
        let length = range.len();
        bytes[range].copy_from_slice(&window[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn field(signed: bool, bits: u32, offset: usize) -> Field {
        Field { offset, bits, signed }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_changes() {
        for bits in 1..=64 {
            for offset in 0..20 {
                let field = field(true, bits, offset);
                let mut bytes = [0x5a; 12];
                let (least, most) = field.limits();
                for value in [least, most, 0, -1] {
                    field.write(&mut bytes, value);
                    assert_eq!(field.read(&bytes), value);
                }
                field.write(&mut bytes, 0x5a5a_5a5a_5a5a_5a5a_i64.rotate_left(offset as u32 + bits));
                assert_eq!(bytes, [0x5a; 12], "{field:?}");
            }
        }
    }

    #[test]
    fn behind_the_end_all_is_zero() {
        assert_eq!(field(false, 16, 0).read(&[0xff]), 0xff00);
        assert_eq!(field(true, 64, usize::MAX / 2).read(&[0xff]), 0);
        assert_eq!(field(false, 8, 4).read(b""), 0);
    }

    #[track_caller]
    fn check(field: Field, old: i64, action: fn(Overflow) -> Action, expected: [Option<i64>; 3]) {
        let outcomes =
            [Overflow::Wrap, Overflow::Saturate, Overflow::Fail].map(|kind| field.outcome(old, action(kind)));
        assert_eq!(outcomes, expected);
    }

    #[test]
    fn overflows_wrap_saturate_or_fail() {
        let (unsigned, signed) = (field(false, 8, 0), field(true, 8, 0));
        check(unsigned, 250, |kind| Action::Add(10, kind), [Some(4), Some(255), None]);
        check(unsigned, 5, |kind| Action::Add(-10, kind), [Some(251), Some(0), None]);
        check(unsigned, 5, |kind| Action::Set(-1, kind), [Some(255), Some(255), None]);
        check(signed, 120, |kind| Action::Add(10, kind), [Some(-126), Some(127), None]);
        check(signed, -120, |kind| Action::Add(-10, kind), [Some(126), Some(-128), None]);
        check(signed, 0, |kind| Action::Set(128, kind), [Some(-128), Some(127), None]);
        check(signed, 0, |kind| Action::Set(127, kind), [Some(127); 3]);
        check(
            field(true, 64, 0),
            i64::MAX,
            |kind| Action::Add(1, kind),
            [Some(i64::MIN), Some(i64::MAX), None],
        );
    }
}
