//! Taking elements from the ends, and moving them to another list.

use std::borrow::Cow;

use shared::change::Kind;

use crate::command::arguments::{integer, is};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::store::key::Key;
use crate::transaction::End;

pub(super) fn lpop<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    pop(context, End::Head, "lpop", arguments)
}

pub(super) fn rpop<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    pop(context, End::Tail, "rpop", arguments)
}

fn pop<'a>(context: &mut Context<'_, 'a>, end: End, name: &str, arguments: &[&'a [u8]]) -> CommandResult {
    let count = match arguments[2..] {
        [] => None,
        [count] => match integer(count) {
            Ok(count @ 0..) => Some(usize::try_from(count).unwrap_or(usize::MAX)),
            _ => return Err(CommandError::text("ERR value is out of range, must be positive")),
        },
        _ => return Err(CommandError::WrongArity(name.to_owned())),
    };
    let key = context.key(arguments[1]);
    let is_there = context.transaction.collection(&key, Kind::List)?.is_some();
    let popped = take(context, &key, end, count.unwrap_or(1))?;
    match count {
        None => match popped.first() {
            Some(value) => context.reply.bulk(value),
            None => context.reply.null(),
        },
        Some(_) if !is_there => context.reply.null_array(),
        Some(_) => {
            context.reply.array(popped.len());
            popped.iter().for_each(|value| context.reply.bulk(value));
        }
    }
    Ok(())
}

pub(super) fn lmpop<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let popping = Popping::parse(&arguments[1..])?;
    if !popping.carry_out(context)? {
        context.reply.null_array();
    }
    Ok(())
}

/// What LMPOP and BLMPOP are asked for.
pub(in crate::command) struct Popping<'r, 'a> {
    keys: &'r [&'a [u8]],
    end: End,
    count: usize,
}

impl<'r, 'a> Popping<'r, 'a> {
    /// Reads it from the number of keys on.
    pub(in crate::command) fn parse(arguments: &'r [&'a [u8]]) -> Result<Self, CommandError> {
        let number = match integer(arguments[0]) {
            Ok(number @ 1..) => usize::try_from(number).unwrap_or(usize::MAX),
            _ => return Err(CommandError::text("ERR numkeys should be greater than 0")),
        };
        let (keys, rest) = arguments[1..].split_at_checked(number).ok_or(CommandError::Syntax)?;
        let (end, rest) = rest.split_first().ok_or(CommandError::Syntax)?;
        let end = parse_end(end)?;
        let count = match rest {
            [] => 1,
            [option, count, rest @ ..] if is(option, "count") => match integer(count) {
                Ok(1..) if !rest.is_empty() => return Err(CommandError::Syntax),
                Ok(count @ 1..) => usize::try_from(count).unwrap_or(usize::MAX),
                _ => return Err(CommandError::text("ERR count should be greater than 0")),
            },
            _ => return Err(CommandError::Syntax),
        };
        Ok(Self { keys, end, count })
    }

    /// Takes from the first of the keys that holds anything, and replies with that. Says whether there was one.
    pub(in crate::command) fn carry_out(&self, context: &mut Context<'_, 'a>) -> Result<bool, CommandError> {
        for name in self.keys {
            let key = context.key(name);
            let popped = take(context, &key, self.end, self.count)?;
            if popped.is_empty() {
                continue;
            }
            context.reply.array(2);
            context.reply.bulk(name);
            context.reply.array(popped.len());
            popped.iter().for_each(|value| context.reply.bulk(value));
            return Ok(true);
        }
        Ok(false)
    }
}

/// Takes up to `count` elements from an end of the key's list, the outermost first.
pub(in crate::command) fn take<'a>(
    context: &mut Context<'_, 'a>,
    key: &Key<'a>,
    end: End,
    count: usize,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let Some(list) = context.transaction.collection(key, Kind::List)? else { return Ok(Vec::new()) };
    let owned = |(id, value): (&[u8], Cow<'_, [u8]>)| (id.to_vec(), value.into_owned());
    let taken: Vec<(Vec<u8>, Vec<u8>)> = match end {
        End::Head => list.range(0..count).map(owned).collect(),
        End::Tail => list.range(list.len().saturating_sub(count)..list.len()).rev().map(owned).collect(),
    };
    context.transaction.reserve_elements(key, taken.iter().map(|(id, _)| id.len()))?;
    let mut values = Vec::with_capacity(taken.len());
    for (id, value) in taken {
        context.transaction.remove(key, Kind::List, id)?;
        values.push(value);
    }
    Ok(values)
}

pub(super) fn lmove<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let ends = (parse_end(arguments[3])?, parse_end(arguments[4])?);
    reply_moved(context, arguments[1], arguments[2], ends)
}

pub(super) fn rpoplpush<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply_moved(context, arguments[1], arguments[2], (End::Tail, End::Head))
}

fn reply_moved<'a>(
    context: &mut Context<'_, 'a>,
    source: &'a [u8],
    target: &'a [u8],
    ends: (End, End),
) -> CommandResult {
    match shift(context, source, target, ends)? {
        Some(value) => context.reply.bulk(&value),
        None => context.reply.null(),
    }
    Ok(())
}

/// Moves an element from an end of one list to an end of another, or the same, and returns it.
pub(in crate::command) fn shift<'a>(
    context: &mut Context<'_, 'a>,
    source: &'a [u8],
    target: &'a [u8],
    (from, to): (End, End),
) -> Result<Option<Vec<u8>>, CommandError> {
    let (source, target) = (context.key(source), context.key(target));
    let Some(list) = context.transaction.collection(&source, Kind::List)? else { return Ok(None) };
    let outermost = list.nth(if from == End::Head { 0 } else { list.len() - 1 });
    let Some((_, value)) = outermost else { return Ok(None) };
    let (value, length) = (value.into_owned(), list.len());
    context.transaction.collection(&target, Kind::List)?;
    context.transaction.reserve_elements(&source, [target.bytes.len(), value.len() + 64, 64].into_iter())?;
    // The only element of a list comes back to where it was, and the list's TTL stays.
    if source != target || length > 1 {
        take(context, &source, from, 1)?;
        context.transaction.push(&target, to, std::iter::once(Cow::Owned(value.clone())))?;
    }
    Ok(Some(value))
}

pub(in crate::command) fn parse_end(argument: &[u8]) -> Result<End, CommandError> {
    match argument {
        end if is(end, "left") => Ok(End::Head),
        end if is(end, "right") => Ok(End::Tail),
        _ => Err(CommandError::Syntax),
    }
}
