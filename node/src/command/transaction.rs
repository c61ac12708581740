//! MULTI, EXEC, DISCARD, WATCH and UNWATCH. How EXEC runs is told in `execute`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::context::Context;
use super::{Access, Command, Keys};
use crate::client::{Client, Queue, Watch};
use crate::error::{CommandError, CommandResult};
use crate::server::Server;
use crate::store::ShardSet;
use crate::store::key::Key;
use crate::transaction::Transaction;

const FLAGS: &[&str] = &["noscript", "loading", "stale", "fast", "allow_busy", "no_multi_queue"];

pub(super) const COMMANDS: &[Command] = &[
    Command { name: "multi", arity: 1, access: Access::None, flags: FLAGS, keys: Keys::None, handler: multi },
    Command {
        name: "exec",
        arity: 1,
        access: Access::None,
        flags: &["noscript", "loading", "stale", "skip_slowlog", "no_multi_queue"],
        keys: Keys::None,
        handler: never_called,
    },
    Command {
        name: "discard",
        arity: 1,
        access: Access::None,
        flags: FLAGS,
        keys: Keys::None,
        handler: discard,
    },
    Command {
        name: "watch",
        arity: -2,
        access: Access::None,
        flags: FLAGS,
        keys: Keys::EVERY,
        handler: watch,
    },
    Command {
        name: "unwatch",
        arity: 1,
        access: Access::None,
        flags: &["noscript", "loading", "stale", "fast", "allow_busy"],
        keys: Keys::None,
        handler: unwatch,
    },
];

fn multi(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    if context.client.queue.is_some() {
        return Err(CommandError::text("ERR MULTI calls can not be nested"));
    }
    context.client.queue = Some(Queue::default());
    context.client.record.queued.store(0, Ordering::Relaxed);
    context.reply.ok();
    Ok(())
}

fn never_called(_: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    Err(CommandError::text("ERR EXEC is carried out before its row is asked"))
}

fn discard(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    if context.client.queue.is_none() {
        return Err(CommandError::text("ERR DISCARD without MULTI"));
    }
    drop_queue(context.server, context.client);
    context.reply.ok();
    Ok(())
}

/// Ends a MULTI, if there is one, and the client's WATCH. The caller holds no shard.
pub(crate) fn drop_queue(server: &Server, client: &mut Client) {
    client.queue = None;
    client.record.queued.store(-1, Ordering::Relaxed);
    unwatch_all(server, client);
}

fn watch(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    if context.client.queue.is_some() {
        return Err(CommandError::text("ERR WATCH inside MULTI is not allowed"));
    }
    for bytes in &arguments[1..] {
        let key = Key::new(context.client.db, bytes);
        let watch = &mut context.client.watch;
        if watch.keys.iter().any(|(db, watched, _)| *db == key.db && **watched == *key.bytes) {
            continue;
        }
        let expired = context.transaction.has_expired(&key);
        watch.keys.push((key.db, key.bytes.into(), expired));
        context.transaction.shard_mut(&key).watch(&key, Arc::clone(&watch.touched), expired);
    }
    context.client.record.watched.store(context.client.watch.keys.len(), Ordering::Relaxed);
    context.reply.ok();
    Ok(())
}

fn unwatch(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    // Within EXEC the keys are unwatched already, and their shards may be locked.
    if !context.in_exec {
        unwatch_all(context.server, context.client);
    }
    context.reply.ok();
    Ok(())
}

/// The shards of the watched keys.
pub(crate) fn watched_shards(client: &Client) -> ShardSet {
    let keys = client.watch.keys.iter();
    keys.fold(ShardSet::EMPTY, |set, (db, key, _)| set.with(Key::new(*db, key).shard()))
}

/// Whether a watched key was changed, or has expired since.
pub(crate) fn watch_broken(client: &Client, transaction: &Transaction<'_>) -> bool {
    client.watch.touched.load(Ordering::Relaxed)
        || client
            .watch
            .keys
            .iter()
            .any(|(db, key, expired)| !expired && transaction.has_expired(&Key::new(*db, key)))
}

/// Ends the client's WATCH, its keys' shards being locked by `transaction`.
pub(crate) fn unwatch_in(client: &mut Client, transaction: &mut Transaction<'_>) {
    let watch = take_watch(client);
    for (db, bytes, _) in &watch.keys {
        let key = Key::new(*db, bytes);
        transaction.shard_mut(&key).unwatch(&key, &watch.touched);
    }
}

/// Ends the client's WATCH. The caller holds no shard.
pub(crate) fn unwatch_all(server: &Server, client: &mut Client) {
    let watch = take_watch(client);
    for (db, bytes, _) in &watch.keys {
        let key = Key::new(*db, bytes);
        server.node.store.lock_shard(key.shard()).unwatch(&key, &watch.touched);
    }
}

fn take_watch(client: &mut Client) -> Watch {
    if client.watch.keys.is_empty() {
        return Watch::default();
    }
    client.record.watched.store(0, Ordering::Relaxed);
    std::mem::take(&mut client.watch)
}
