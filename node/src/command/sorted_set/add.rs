//! ZADD and ZINCRBY.

use shared::change::{Kind, Value};

use super::scores::parse_score;
use crate::command::arguments::is;
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::key::Key;

/// Which members ZADD touches, and what it replies.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    only_new: bool,
    only_old: bool,
    only_greater: bool,
    only_less: bool,
    counts_changed: bool,
    increments: bool,
}

impl Options {
    /// The options, and what stands behind them.
    fn parse<'r, 'a>(arguments: &'r [&'a [u8]]) -> (Self, &'r [&'a [u8]]) {
        let mut options = Self::default();
        let mut rest = arguments;
        while let [option, more @ ..] = rest {
            let flag = match () {
                () if is(option, "nx") => &mut options.only_new,
                () if is(option, "xx") => &mut options.only_old,
                () if is(option, "gt") => &mut options.only_greater,
                () if is(option, "lt") => &mut options.only_less,
                () if is(option, "ch") => &mut options.counts_changed,
                () if is(option, "incr") => &mut options.increments,
                () => break,
            };
            *flag = true;
            rest = more;
        }
        (options, rest)
    }

    fn check(self, pairs: usize) -> CommandResult {
        let Self { only_new, only_old, only_greater, only_less, increments, .. } = self;
        if only_new && only_old {
            return Err(CommandError::text("ERR XX and NX options at the same time are not compatible"));
        }
        if (only_greater || only_less) && only_new || only_greater && only_less {
            let text = "ERR GT, LT, and/or NX options at the same time are not compatible";
            return Err(CommandError::text(text));
        }
        if increments && pairs > 1 {
            return Err(CommandError::text("ERR INCR option supports a single increment-element pair"));
        }
        Ok(())
    }

    /// What becomes of a member that has this score, if it is one.
    fn judge(self, held: Option<f64>, score: f64) -> Result<Outcome, CommandError> {
        let total = held.filter(|_| self.increments).map_or(score, |held| held + score);
        Ok(match held {
            Some(_) if self.only_new => Outcome::Skipped,
            None if self.only_old => Outcome::Skipped,
            None => Outcome::Added(total),
            Some(_) if total.is_nan() => {
                return Err(CommandError::text("ERR resulting score is not a number (NaN)"));
            }
            Some(held) if self.only_less && total >= held || self.only_greater && total <= held => {
                Outcome::Skipped
            }
            Some(held) if held == total => Outcome::Same(held),
            Some(_) => Outcome::Changed(total),
        })
    }
}

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Skipped,
    Same(f64),
    Changed(f64),
    Added(f64),
}

pub(super) fn zadd<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (options, rest) = Options::parse(&arguments[2..]);
    add(context, arguments[1], options, rest)
}

pub(super) fn zincrby<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    // As in Redis ZADD's options may stand before the increment.
    let (options, rest) = Options::parse(&arguments[2..]);
    add(context, arguments[1], Options { increments: true, ..options }, rest)
}

fn add<'a>(
    context: &mut Context<'_, 'a>,
    key: &'a [u8],
    options: Options,
    arguments: &[&'a [u8]],
) -> CommandResult {
    let (pairs, rest) = arguments.as_chunks::<2>();
    if !rest.is_empty() || pairs.is_empty() {
        return Err(CommandError::Syntax);
    }
    options.check(pairs.len())?;
    let scored: Vec<(f64, &'a [u8])> = pairs
        .iter()
        .map(|[score, member]| Ok((parse_score(score)?, *member)))
        .collect::<Result<_, CommandError>>()?;
    let key = context.key(key);
    // Of the set, if there is one, the kind is what matters here.
    context.transaction.collection(&key, Kind::SortedSet)?;
    context.transaction.reserve_elements(&key, scored.iter().map(|(_, member)| member.len()))?;
    let mut last = Outcome::Skipped;
    let (mut added, mut changed) = (0, 0);
    for (score, member) in scored {
        last = write(context, &key, options, score, member)?;
        added += i64::from(matches!(last, Outcome::Added(_)));
        changed += i64::from(matches!(last, Outcome::Changed(_)));
    }
    if added + changed > 0 {
        let event = if options.increments { "zincr" } else { "zadd" };
        context.transaction.notify(Class::SortedSet, event, &key);
    }
    match last {
        Outcome::Skipped if options.increments => context.reply.null(),
        Outcome::Same(score) | Outcome::Changed(score) | Outcome::Added(score) if options.increments => {
            context.reply.double(score);
        }
        _ => context.reply.integer(if options.counts_changed { added + changed } else { added }),
    }
    Ok(())
}

/// Writes a score, or adds to it.
fn write<'a>(
    context: &mut Context<'_, 'a>,
    key: &Key<'a>,
    options: Options,
    score: f64,
    member: &'a [u8],
) -> Result<Outcome, CommandError> {
    let transaction = &mut *context.transaction;
    if options.increments {
        let held = transaction.collection(key, Kind::SortedSet)?.and_then(|set| set.score(member));
        let outcome = options.judge(held, score)?;
        if let Outcome::Changed(total) | Outcome::Added(total) = outcome {
            transaction.add_score(key, member, score, total)?;
        }
        return Ok(outcome);
    }
    let mut outcome = Ok(Outcome::Skipped);
    // Kept without the sign of zero, as Redis keeps it in small sets.
    let value = Value::Float(score + 0.0);
    transaction.put_if(key, Kind::SortedSet, member, value, |held| {
        outcome = options.judge(held, score);
        matches!(outcome, Ok(Outcome::Changed(_) | Outcome::Added(_)))
    })?;
    outcome
}
