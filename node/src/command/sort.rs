//! SORT and SORT_RO: the elements of a list, set or sorted set in another order, told or stored as a list.

mod pattern;
mod request;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use shared::change::Kind;
use smallvec::SmallVec;

use self::pattern::Pattern;
use self::request::Request;
use super::context::Context;
use super::sorted_set::scores::parse_score;
use super::{Access, Command, Keys};
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::key::Key;
use crate::store::list_id::ID_BYTES_MAX;
use crate::transaction::{End, Transaction};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "sort",
        arity: -2,
        access: Access::Write,
        flags: &["denyoom"],
        keys: Keys::Sort,
        handler: sort,
    },
    Command {
        name: "sort_ro",
        arity: -2,
        access: Access::Read,
        flags: &[],
        keys: Keys::Sort,
        handler: sort_ro,
    },
];

/// The keys that stand among SORT's arguments: what is sorted, and where it is stored. Of what cannot be read nothing is done,
/// nor is it for SORT_RO if it is to store.
pub(super) fn named_keys<'a>(arguments: &[&'a [u8]]) -> SmallVec<[&'a [u8]; 4]> {
    let source = arguments.get(1).copied();
    let request = Request::parse(true, arguments.get(2..).unwrap_or_default());
    source.into_iter().chain(request.ok().and_then(|request| request.store)).collect()
}

/// Whether SORT may read keys that only the elements name.
pub(super) fn reads_unnamed(arguments: &[&[u8]]) -> bool {
    Request::parse(true, arguments.get(2..).unwrap_or_default()).is_ok_and(|request| request.reads_unnamed())
}

fn sort<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    run(context, true, arguments)
}

fn sort_ro<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    run(context, false, arguments)
}

fn run<'a>(context: &mut Context<'_, 'a>, may_store: bool, arguments: &[&'a [u8]]) -> CommandResult {
    let request = Request::parse(may_store, &arguments[2..])?;
    let (source, db) = (context.key(arguments[1]), context.client.db);
    let elements = sorted(context.transaction, &source, &request)?;
    let Some(target) = request.store else {
        context.reply.array(elements.len() * request.get.len().max(1));
        for element in elements {
            tell(context, &request, &element);
        }
        return Ok(());
    };
    let values = if request.get.is_empty() {
        elements
    } else {
        let found = |(element, pattern): (&Vec<u8>, &Pattern<'_>)| {
            pattern.value(context.transaction, db, element).unwrap_or_default()
        };
        let asked = elements.iter().flat_map(|element| request.get.iter().map(move |get| (element, get)));
        asked.map(found).collect()
    };
    let count = values.len();
    store(context.transaction, &Key::new(db, target), values)?;
    context.reply.integer(count as i64);
    Ok(())
}

fn tell(context: &mut Context<'_, '_>, request: &Request<'_>, element: &[u8]) {
    if request.get.is_empty() {
        context.reply.bulk(element);
    }
    for pattern in &request.get {
        match pattern.value(context.transaction, context.client.db, element) {
            Some(value) => context.reply.bulk(&value),
            None => context.reply.null(),
        }
    }
}

/// Makes the key a list of these values; of none, no key at all.
fn store<'a>(transaction: &mut Transaction<'a>, target: &Key<'a>, values: Vec<Vec<u8>>) -> CommandResult {
    if values.is_empty() {
        transaction.delete(target)?;
        return Ok(());
    }
    transaction.reserve_elements(target, values.iter().map(|value| ID_BYTES_MAX + value.len()))?;
    transaction.clear(target)?;
    transaction.push(target, End::Tail, values.into_iter().map(Cow::Owned))?;
    transaction.notify(Class::List, "sortstore", target);
    Ok(())
}

/// The elements that are asked for, in order.
fn sorted(
    transaction: &mut Transaction<'_>,
    source: &Key<'_>,
    request: &Request<'_>,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let kind = transaction.kind(source).unwrap_or(Kind::List);
    if !matches!(kind, Kind::List | Kind::Set | Kind::SortedSet) {
        return Err(CommandError::WrongType);
    }
    // What is stored must not depend on an order that means nothing.
    let is_alphabetical = request.keeps_order && kind == Kind::Set && request.store.is_some();
    let Some(collection) = transaction.read_collection(source, kind)? else { return Ok(Vec::new()) };
    let length = collection.len();
    let asked = request.places(length);
    let keeps_order = request.keeps_order && !is_alphabetical;
    let reversed = keeps_order && request.descending && kind != Kind::Set;
    let loaded = match (keeps_order, reversed) {
        (false, _) => 0..length,
        (true, false) => asked.clone(),
        (true, true) => length - asked.end..length - asked.start,
    };
    let mut elements: Vec<Vec<u8>> = match kind {
        Kind::List => collection.range(loaded).map(|(_, value)| value.into_owned()).collect(),
        Kind::SortedSet => collection.ranked(loaded).map(|(member, _)| member.to_vec()).collect(),
        _ => collection.range(loaded).map(|(member, _)| member.to_vec()).collect(),
    };
    if reversed {
        elements.reverse();
    }
    if keeps_order {
        return Ok(elements);
    }
    let by = request.by.as_ref().filter(|_| !is_alphabetical);
    if request.alphabetical || is_alphabetical {
        let weight = |element: &Vec<u8>| match by {
            Some(by) => by.value(transaction, source.db, element),
            None => Some(element.clone()),
        };
        let weights = elements.iter().map(weight).collect();
        return Ok(ordered(elements, weights, asked, request.descending, |_, _| Ordering::Equal, Ord::cmp));
    }
    let weight = |element: &Vec<u8>| match by {
        Some(by) => by.value(transaction, source.db, element).map_or(Ok(0.0), |value| number(&value)),
        None => number(element),
    };
    let weights = elements.iter().map(weight).collect::<Result<Vec<f64>, _>>()?;
    let compare = |left: &f64, right: &f64| left.partial_cmp(right).unwrap_or(Ordering::Equal);
    Ok(ordered(elements, weights, asked, request.descending, <[u8]>::cmp, compare))
}

/// The elements at these places once they are in order of their weights, and where those are equal by `tie`.
fn ordered<W>(
    elements: Vec<Vec<u8>>,
    weights: Vec<W>,
    places: Range<usize>,
    descending: bool,
    tie: impl Fn(&[u8], &[u8]) -> Ordering,
    compare: impl Fn(&W, &W) -> Ordering,
) -> Vec<Vec<u8>> {
    let mut weighed: Vec<(W, Vec<u8>)> = weights.into_iter().zip(elements).collect();
    weighed.sort_by(|left, right| {
        let order = compare(&left.0, &right.0).then_with(|| tie(&left.1, &right.1));
        if descending { order.reverse() } else { order }
    });
    weighed.drain(places).map(|(_, element)| element).collect()
}

/// A weight as `strtod` reads it, which knows an end at a zero byte; nothing at all is zero.
fn number(text: &[u8]) -> Result<f64, CommandError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(0.0);
    }
    let number = parse_score(text.trim_ascii_start()).ok();
    // Of what is too small to be exact `strtod` says that it is out of range, and SORT takes its word, unlike ZADD.
    number
        .filter(|number| !number.is_subnormal())
        .ok_or(CommandError::text("ERR One or more scores can't be converted into double"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_as_c_reads_doubles() {
        for (text, expected) in [("", 0.0), (" 1.5", 1.5), ("-3", -3.0), ("2\0x", 2.0), ("0x10", 16.0)] {
            assert_eq!(number(text.as_bytes()).ok(), Some(expected), "{text}");
        }
        for text in [" ", "a", "1 ", "nan", "1e400", "1e-320"] {
            assert!(number(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn all_shards_are_needed_only_for_patterns() {
        assert!(reads_unnamed(&[b"sort", b"k", b"BY", b"w_*"]));
        assert!(reads_unnamed(&[b"sort", b"k", b"get", b"#", b"get", b"*->f"]));
        assert!(!reads_unnamed(&[b"sort", b"k", b"by", b"nosort", b"get", b"#"]));
    }

    #[test]
    fn keys_are_what_is_sorted_and_where_it_is_stored() {
        let named = |arguments: &str| {
            let arguments: Vec<&[u8]> = arguments.split(' ').map(str::as_bytes).collect();
            named_keys(&arguments)
                .iter()
                .map(|key| String::from_utf8_lossy(key).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(named("sort k store a STORE b"), ["k", "b"]);
        // Words that other options take are no options.
        assert_eq!(named("sort k store a by store limit 0 1"), ["k", "a"]);
        assert_eq!(named("sort k store a get store alpha"), ["k", "a"]);
        assert_eq!(named("sort k store store by x"), ["k", "store"]);
        assert_eq!(named("sort k store a limit 0"), ["k"]);
    }
}
