//! Unions, intersections and differences of sorted sets and sets, whose members count as having score 1.

use std::collections::HashMap;

use shared::change::Kind;

use super::range::replace;
use super::scores::{parse_score, reply_head, reply_member};
use crate::command::arguments::{integer, is, limit};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::block::Text;
use crate::store::collection::Collection;
use crate::store::key::Key;
use crate::store::rich::rank_order;
use crate::transaction::Transaction;

/// What is made of several sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of a member's scores in several sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Sum => number(left + right),
            Self::Min => left.min(right),
            Self::Max => left.max(right),
        }
    }
}

/// What is no number counts as zero.
fn number(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

pub(super) fn zunion<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply(context, Operation::Union, "zunion", arguments)
}

pub(super) fn zinter<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply(context, Operation::Intersection, "zinter", arguments)
}

pub(super) fn zdiff<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply(context, Operation::Difference, "zdiff", arguments)
}

pub(super) fn zunionstore<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    store(context, Operation::Union, "zunionstore", arguments)
}

pub(super) fn zinterstore<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    store(context, Operation::Intersection, "zinterstore", arguments)
}

pub(super) fn zdiffstore<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    store(context, Operation::Difference, "zdiffstore", arguments)
}

pub(super) fn zintercard<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let db = context.client.db;
    let (inputs, rest) = inputs(context.transaction, db, "zintercard", &arguments[1..])?;
    let limit = limit(rest)?;
    let options = Options { weights: vec![1.0; inputs.len()], aggregate: Aggregate::Sum, with_scores: false };
    let count = combine(Operation::Intersection, &inputs, &options).len().min(limit);
    context.reply.integer(count as i64);
    Ok(())
}

fn reply<'a>(
    context: &mut Context<'_, 'a>,
    operation: Operation,
    name: &str,
    arguments: &[&'a [u8]],
) -> CommandResult {
    let (inputs, rest) = inputs(context.transaction, context.client.db, name, &arguments[1..])?;
    let options = Options::parse(operation, false, inputs.len(), rest)?;
    let members = combine(operation, &inputs, &options);
    let reply = &mut context.reply;
    reply_head(reply, members.len(), options.with_scores);
    for (member, score) in members {
        reply_member(reply, &member, score, options.with_scores);
    }
    Ok(())
}

fn store<'a>(
    context: &mut Context<'_, 'a>,
    operation: Operation,
    name: &'static str,
    arguments: &[&'a [u8]],
) -> CommandResult {
    let (inputs, rest) = inputs(context.transaction, context.client.db, name, &arguments[2..])?;
    let options = Options::parse(operation, true, inputs.len(), rest)?;
    let members = combine(operation, &inputs, &options).into_iter();
    let members = members.map(|(member, score)| (member.to_vec(), score)).collect();
    let target = context.key(arguments[1]);
    let count = replace(context.transaction, &target, members)?;
    if count > 0 {
        context.transaction.notify(Class::SortedSet, name, &target);
    }
    context.reply.integer(count as i64);
    Ok(())
}

/// One of the sets; an absent one is empty.
#[derive(Clone, Copy)]
struct Input<'c>(Option<(Collection<'c>, Kind)>);

impl<'c> Input<'c> {
    fn len(self) -> usize {
        self.0.map_or(0, |(set, _)| set.len())
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self.0? {
            (set, Kind::SortedSet) => set.score(member),
            (set, _) => set.contains(member).then_some(1.0),
        }
    }

    fn members(self) -> Vec<(Text<'c>, f64)> {
        match self.0 {
            None => Vec::new(),
            Some((set, Kind::SortedSet)) => set.ranked(0..set.len()).collect(),
            Some((set, _)) => set.iter().map(|(member, _)| (member, 1.0)).collect(),
        }
    }
}

/// The sets whose number stands first, and what stands behind them.
fn inputs<'c, 'r, 'a>(
    transaction: &'c mut Transaction<'_>,
    db: u8,
    name: &str,
    arguments: &'r [&'a [u8]],
) -> Result<(Vec<Input<'c>>, &'r [&'a [u8]]), CommandError> {
    let number = integer(arguments[0])?;
    if number < 1 {
        return Err(CommandError::composed(format!(
            "ERR at least 1 input key is needed for '{name}' command"
        )));
    }
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let (keys, rest) = arguments[1..].split_at_checked(number).ok_or(CommandError::Syntax)?;
    transaction.tell_missing(db, keys);
    let transaction = &*transaction;
    let input = |key: &&'a [u8]| {
        let key = Key::new(db, key);
        let kind = match transaction.kind(&key) {
            None => return Ok(Input(None)),
            Some(kind @ (Kind::Set | Kind::SortedSet)) => kind,
            Some(_) => return Err(CommandError::WrongType),
        };
        Ok(Input(transaction.collection(&key, kind)?.map(|set| (set, kind))))
    };
    Ok((keys.iter().map(input).collect::<Result<_, _>>()?, rest))
}

struct Options {
    /// One per set.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
}

impl Options {
    fn parse(
        operation: Operation,
        stores: bool,
        sets: usize,
        arguments: &[&[u8]],
    ) -> Result<Self, CommandError> {
        let mut options = Self { weights: vec![1.0; sets], aggregate: Aggregate::Sum, with_scores: false };
        let weighs = operation != Operation::Difference;
        let mut rest = arguments;
        loop {
            rest = match rest {
                [] => return Ok(options),
                [option, rest @ ..] if weighs && is(option, "weights") && rest.len() >= sets => {
                    let (weights, rest) = rest.split_at(sets);
                    let weight = |text: &&[u8]| {
                        parse_score(text).map_err(|_| CommandError::text("ERR weight value is not a float"))
                    };
                    options.weights = weights.iter().map(weight).collect::<Result<_, _>>()?;
                    rest
                }
                [option, aggregate, rest @ ..] if weighs && is(option, "aggregate") => {
                    options.aggregate = match aggregate {
                        name if is(name, "sum") => Aggregate::Sum,
                        name if is(name, "min") => Aggregate::Min,
                        name if is(name, "max") => Aggregate::Max,
                        _ => return Err(CommandError::Syntax),
                    };
                    rest
                }
                [option, rest @ ..] if !stores && is(option, "withscores") => {
                    options.with_scores = true;
                    rest
                }
                _ => return Err(CommandError::Syntax),
            };
        }
    }
}

/// The members of the result, lowest first.
fn combine<'c>(operation: Operation, inputs: &[Input<'c>], options: &Options) -> Vec<(Text<'c>, f64)> {
    let mut weighed: Vec<(Input<'c>, f64)> =
        inputs.iter().copied().zip(options.weights.iter().copied()).collect();
    if operation != Operation::Difference {
        // As Redis does: for the sums of floats the order matters.
        weighed.sort_by_key(|(input, _)| input.len());
    }
    let Some(((first, first_weight), others)) = weighed.split_first() else { return Vec::new() };
    let weigh = |score: f64, weight: f64| number(score * weight);
    let mut members: Vec<(Text<'_>, f64)> = match operation {
        Operation::Difference => {
            let is_elsewhere = |name: &[u8]| others.iter().any(|(other, _)| other.score(name).is_some());
            first.members().into_iter().filter(|(name, _)| !is_elsewhere(name)).collect()
        }
        Operation::Intersection => {
            let all = |name: &[u8], score: f64| {
                others.iter().try_fold(weigh(score, *first_weight), |total, (other, weight)| {
                    Some(options.aggregate.of(total, weigh(other.score(name)?, *weight)))
                })
            };
            first
                .members()
                .into_iter()
                .filter_map(|(name, score)| {
                    let score = all(&name, score)?;
                    Some((name, score))
                })
                .collect()
        }
        Operation::Union => {
            let mut scores: HashMap<Text<'_>, f64> = HashMap::new();
            for (input, weight) in &weighed {
                for (name, score) in input.members() {
                    let score = weigh(score, *weight);
                    scores
                        .entry(name)
                        .and_modify(|total| *total = options.aggregate.of(*total, score))
                        .or_insert(score);
                }
            }
            scores.into_iter().collect()
        }
    };
    members.sort_unstable_by(|left, right| rank_order((left.1, &left.0), (right.1, &right.0)));
    members
}
