//! OBJECT: what Redis tells about how it keeps a key. None of it counts as use of the key.
//!
//! Here all strings are kept alike, so encoding and reference count are told by the value alone: what Redis would
//! say of a key that was written by SET. It remembers in what way a value came about, and says otherwise in two
//! cases: after APPEND, SETRANGE, SETBIT or INCRBYFLOAT an integer or short string is `raw` or `embstr` there, and
//! a COPY of a small integer is not shared.

use std::sync::atomic::{AtomicUsize, Ordering};

use shared::change::Kind;

use super::super::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::memory::policy::Order;
use crate::settings::EncodingLimits;
use crate::store::collection::{Collection, Element};
use crate::store::key::Key;
use crate::store::rich::parse_integer;

/// Redis keeps one object of each small integer for all keys.
const SHARED_INTEGERS: std::ops::Range<i64> = 0..10_000;
/// The reference count that Redis gives to objects that it never frees.
const SHARED_REFERENCES: i64 = i32::MAX as i64;
/// The longest string that Redis keeps in one allocation with its object.
const EMBEDDED_BYTES_MAX: usize = 44;

const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];

pub(super) fn help(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.array(HELP.len());
    for line in HELP {
        context.reply.simple(line);
    }
    Ok(())
}

pub(super) fn encoding<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[2]);
    if context.transaction.exists(&key) {
        let encoding = encoding_of(context, &key)?;
        context.reply.bulk(encoding.as_bytes());
    } else {
        context.reply.null();
    }
    Ok(())
}

/// What Redis would call the form of the key's value; empty if there is no key.
pub(in crate::command) fn encoding_of(
    context: &Context<'_, '_>,
    key: &Key<'_>,
) -> Result<&'static str, CommandError> {
    Ok(match context.transaction.kind(key) {
        None => "",
        Some(Kind::String) => string_encoding(&context.transaction.string(key)?.unwrap_or_default()),
        Some(kind) => {
            let collection = context.transaction.collection(key, kind)?;
            let limits = &context.server.node.settings.encoding_limits;
            collection.map_or("", |collection| collection_encoding(kind, collection, limits))
        }
    })
}

/// As Redis would keep such a collection that was made at once: it does not pack again what has become small.
fn collection_encoding(kind: Kind, collection: Collection<'_>, limits: &EncodingLimits) -> &'static str {
    let within = |limit: &AtomicUsize, length: usize| length <= limit.load(Ordering::Relaxed);
    match kind {
        Kind::String => "raw",
        Kind::List => "quicklist",
        Kind::Set => {
            let are_integers = || collection.iter().all(|(member, _)| parse_integer(&member).is_some());
            let is_packed = within(&limits.set_integers, collection.len()) && are_integers();
            if is_packed { "intset" } else { "hashtable" }
        }
        Kind::Hash => {
            let is_short =
                |(field, value): Element<'_>| within(&limits.hash_value, field.len().max(value.len()));
            let is_packed = within(&limits.hash_entries, collection.len()) && collection.iter().all(is_short);
            if is_packed { "listpack" } else { "hashtable" }
        }
        Kind::SortedSet => {
            let is_short = |(member, _): Element<'_>| within(&limits.sorted_set_value, member.len());
            let is_packed =
                within(&limits.sorted_set_entries, collection.len()) && collection.iter().all(is_short);
            if is_packed { "listpack" } else { "skiplist" }
        }
    }
}

fn string_encoding(value: &[u8]) -> &'static str {
    match value.len() {
        _ if parse_integer(value).is_some() => "int",
        ..=EMBEDDED_BYTES_MAX => "embstr",
        _ => "raw",
    }
}

pub(super) fn frequency<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[2]);
    let counter = context.transaction.use_counter(&key).filter(|_| context.transaction.exists(&key));
    match counter {
        None => context.reply.null(),
        Some(counter) if counts_uses(context) => context.reply.integer(counter.into()),
        Some(_) => {
            return Err(CommandError::text(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                 switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
    }
    Ok(())
}

pub(super) fn idle_time<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[2]);
    let idle = context.transaction.idle_seconds(&key).filter(|_| context.transaction.exists(&key));
    match idle {
        Some(_) if counts_uses(context) => {
            return Err(CommandError::text(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
                 between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        Some(seconds) => context.reply.integer(seconds.into()),
        None => context.reply.null(),
    }
    Ok(())
}

/// Redis does not where it notes of each object when it was used, or how often.
fn shares_integers(context: &Context<'_, '_>) -> bool {
    let memory = &context.server.node.settings.memory;
    memory.limit() == 0 || !matches!(memory.policy().order(), Some(Order::Recency | Order::Frequency))
}

fn counts_uses(context: &Context<'_, '_>) -> bool {
    context.server.node.settings.memory.policy().counts_uses()
}

pub(super) fn reference_count<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[2]);
    let is_shared = match context.transaction.kind(&key) {
        None => {
            context.reply.null();
            return Ok(());
        }
        Some(Kind::String) => {
            let value = context.transaction.string(&key)?.unwrap_or_default();
            parse_integer(&value).is_some_and(|integer| SHARED_INTEGERS.contains(&integer))
        }
        Some(_) => false,
    };
    context.reply.integer(if is_shared && shares_integers(context) { SHARED_REFERENCES } else { 1 });
    Ok(())
}
