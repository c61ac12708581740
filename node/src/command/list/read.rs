//! Asking for elements.

use shared::change::Kind;

use super::place;
use crate::command::arguments::{at_least, integer, is, ranks_between};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::store::collection::{Collection, Element};

pub(super) fn llen<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let list = context.transaction.read_collection(&key, Kind::List)?;
    context.reply.integer(list.map_or(0, |list| list.len()) as i64);
    Ok(())
}

pub(super) fn lindex<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let Some(list) = context.transaction.read_collection(&key, Kind::List)? else {
        context.reply.null();
        return Ok(());
    };
    match place(integer(arguments[2])?, list.len()).and_then(|place| list.nth(place)) {
        Some((_, value)) => context.reply.bulk(&value),
        None => context.reply.null(),
    }
    Ok(())
}

pub(super) fn lrange<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (start, stop) = (integer(arguments[2])?, integer(arguments[3])?);
    let key = context.key(arguments[1]);
    let Some(list) = context.transaction.read_collection(&key, Kind::List)? else {
        context.reply.array(0);
        return Ok(());
    };
    let places = ranks_between(start, stop, list.len());
    context.reply.array(places.len());
    list.each_value(places, |value| context.reply.bulk(value));
    Ok(())
}

pub(super) fn lpos<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let search = Search::parse(&arguments[3..])?;
    let key = context.key(arguments[1]);
    let list = context.transaction.read_collection(&key, Kind::List)?;
    let found = list.map_or_else(Vec::new, |list| search.places(list, arguments[2]));
    match search.count {
        Some(_) => {
            context.reply.array(found.len());
            found.into_iter().for_each(|place| context.reply.integer(place as i64));
        }
        None => match found.first() {
            Some(place) => context.reply.integer(*place as i64),
            None => context.reply.null(),
        },
    }
    Ok(())
}

/// What stands behind LPOS's element.
struct Search {
    /// From which match on, from the end if negative; never zero.
    rank: i64,
    /// How many are told; all if zero, one if not said.
    count: Option<usize>,
    /// How many elements are compared.
    length_max: usize,
}

impl Search {
    fn parse(arguments: &[&[u8]]) -> Result<Self, CommandError> {
        let mut search = Self { rank: 1, count: None, length_max: usize::MAX };
        let mut rest = arguments;
        loop {
            rest = match rest {
                [] => return Ok(search),
                [option, rank, rest @ ..] if is(option, "rank") => {
                    search.rank = parse_rank(rank)?;
                    rest
                }
                [option, count, rest @ ..] if is(option, "count") => {
                    search.count = Some(at_least(count, 0, "ERR COUNT can't be negative")?);
                    rest
                }
                [option, length, rest @ ..] if is(option, "maxlen") => {
                    let length = at_least(length, 0, "ERR MAXLEN can't be negative")?;
                    search.length_max = if length == 0 { usize::MAX } else { length };
                    rest
                }
                _ => return Err(CommandError::Syntax),
            };
        }
    }

    fn places(&self, list: Collection<'_>, element: &[u8]) -> Vec<usize> {
        let skipped = usize::try_from(self.rank.unsigned_abs()).unwrap_or(usize::MAX) - 1;
        let limit = match self.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => count,
        };
        let equals = |(place, (_, value)): (usize, Element<'_>)| (*value == *element).then_some(place);
        if self.rank > 0 {
            let compared = (0..).zip(list.iter()).take(self.length_max);
            compared.filter_map(equals).skip(skipped).take(limit).collect()
        } else {
            let compared = (0..list.len()).rev().zip(list.iter().rev()).take(self.length_max);
            compared.filter_map(equals).skip(skipped).take(limit).collect()
        }
    }
}

fn parse_rank(argument: &[u8]) -> Result<i64, CommandError> {
    match integer(argument)? {
        0 => Err(CommandError::text(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative \
             to start from the end of the list",
        )),
        rank => Ok(rank),
    }
}
