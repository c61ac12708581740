//! ZRANGE, the commands that it took the place of, and ZRANGESTORE: whatever the range is by, it comes to ranks.

use std::ops::Range;

use shared::change::{Kind, Value};

use super::scores::{NameInterval, ScoreInterval, reply_head, reply_member};
use crate::command::arguments::{integer, is, ranks_between};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::collection::Collection;
use crate::store::key::Key;
use crate::transaction::Transaction;

/// What a range is by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Name,
}

/// What a command's name says already; the rest stands in its options.
#[derive(Clone, Copy, Debug, Default)]
struct Form {
    by: Option<By>,
    reversed: Option<bool>,
    stores: bool,
}

pub(super) fn zrange<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply(context, Form::default(), arguments)
}

pub(super) fn zrangebyscore<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply(context, Form { by: Some(By::Score), reversed: Some(false), stores: false }, arguments)
}

pub(super) fn zrangebylex<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply(context, Form { by: Some(By::Name), reversed: Some(false), stores: false }, arguments)
}

pub(super) fn zrevrange<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply(context, Form { by: Some(By::Rank), reversed: Some(true), stores: false }, arguments)
}

pub(super) fn zrevrangebyscore<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply(context, Form { by: Some(By::Score), reversed: Some(true), stores: false }, arguments)
}

pub(super) fn zrevrangebylex<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply(context, Form { by: Some(By::Name), reversed: Some(true), stores: false }, arguments)
}

pub(super) fn zrangestore<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let request = Request::parse(Form { stores: true, ..Form::default() }, &arguments[3..])?;
    let (target, source) = (context.key(arguments[1]), context.key(arguments[2]));
    let set = context.transaction.read_collection(&source, Kind::SortedSet)?;
    let mut members = Vec::new();
    if let Some(set) = set {
        let ranks = request.ranks(set);
        members.extend(set.ranked(ranks).map(|(member, score)| (member.to_vec(), score)));
    }
    let count = replace(context.transaction, &target, members)?;
    if count > 0 {
        context.transaction.notify(Class::SortedSet, "zrangestore", &target);
    }
    context.reply.integer(count as i64);
    Ok(())
}

/// Makes the key hold these members and nothing else; none, and it is gone.
pub(super) fn replace<'a>(
    transaction: &mut Transaction<'a>,
    key: &Key<'a>,
    members: Vec<(Vec<u8>, f64)>,
) -> Result<usize, CommandError> {
    let count = members.len();
    if members.is_empty() {
        transaction.delete(key)?;
        return Ok(0);
    }
    transaction.reserve_elements(key, members.iter().map(|(member, _)| member.len()))?;
    transaction.clear(key)?;
    for (member, score) in members {
        // Without the sign of zero, as Redis keeps it in small sets.
        transaction.put(key, Kind::SortedSet, member, Value::Float(score + 0.0))?;
    }
    Ok(count)
}

fn reply<'a>(context: &mut Context<'_, 'a>, form: Form, arguments: &[&'a [u8]]) -> CommandResult {
    let request = Request::parse(form, &arguments[2..])?;
    let key = context.key(arguments[1]);
    let Some(set) = context.transaction.read_collection(&key, Kind::SortedSet)? else {
        context.reply.array(0);
        return Ok(());
    };
    let ranks = request.ranks(set);
    let (reply, with_scores) = (&mut context.reply, request.with_scores);
    reply_head(reply, ranks.len(), with_scores);
    let members = set.ranked(ranks);
    if request.reversed {
        members.rev().for_each(|(member, score)| reply_member(reply, &member, score, with_scores));
    } else {
        members.for_each(|(member, score)| reply_member(reply, &member, score, with_scores));
    }
    Ok(())
}

/// Between what the members lie that are asked for.
enum Interval<'a> {
    Ranks(i64, i64),
    Scores(ScoreInterval),
    Names(NameInterval<'a>),
}

/// What is asked for.
struct Request<'a> {
    interval: Interval<'a>,
    reversed: bool,
    offset: i64,
    limit: i64,
    with_scores: bool,
}

impl<'a> Request<'a> {
    /// Reads it from the range's ends on.
    fn parse(form: Form, arguments: &[&'a [u8]]) -> Result<Self, CommandError> {
        let Form { mut by, mut reversed, stores } = form;
        let (mut offset, mut limit, mut with_scores) = (0, -1, false);
        let mut rest = &arguments[2..];
        loop {
            rest = match rest {
                [] => break,
                [option, rest @ ..] if !stores && is(option, "withscores") => {
                    with_scores = true;
                    rest
                }
                [option, first, count, rest @ ..] if is(option, "limit") => {
                    (offset, limit) = (integer(first)?, integer(count)?);
                    rest
                }
                [option, rest @ ..] if reversed.is_none() && is(option, "rev") => {
                    reversed = Some(true);
                    rest
                }
                [option, rest @ ..] if by.is_none() && is(option, "bylex") => {
                    by = Some(By::Name);
                    rest
                }
                [option, rest @ ..] if by.is_none() && is(option, "byscore") => {
                    by = Some(By::Score);
                    rest
                }
                _ => return Err(CommandError::Syntax),
            };
        }
        let (by, reversed) = (by.unwrap_or(By::Rank), reversed.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(CommandError::text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Name {
            return Err(CommandError::text(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (min, max) = match reversed && by != By::Rank {
            true => (arguments[1], arguments[0]),
            false => (arguments[0], arguments[1]),
        };
        let interval = match by {
            By::Rank => Interval::Ranks(integer(min)?, integer(max)?),
            By::Score => Interval::Scores(ScoreInterval::parse(min, max)?),
            By::Name => Interval::Names(NameInterval::parse(min, max)?),
        };
        Ok(Self { interval, reversed, offset, limit, with_scores })
    }

    /// The ranks of the members that are asked for, lowest first.
    fn ranks(&self, set: Collection<'_>) -> Range<usize> {
        let ranks = match &self.interval {
            Interval::Ranks(start, stop) => {
                let ranks = ranks_between(*start, *stop, set.len());
                return if self.reversed { set.len() - ranks.end..set.len() - ranks.start } else { ranks };
            }
            Interval::Scores(interval) => interval.ranks(set),
            Interval::Names(interval) => interval.ranks(set),
        };
        let Ok(offset) = usize::try_from(self.offset) else { return 0..0 };
        let offset = offset.min(ranks.len());
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX).min(ranks.len() - offset);
        if self.reversed {
            ranks.end - offset - limit..ranks.end - offset
        } else {
            ranks.start + offset..ranks.start + offset + limit
        }
    }
}
