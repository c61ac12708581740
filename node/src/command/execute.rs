//! How a command is carried out: found, checked, queued by MULTI or run under its shards' locks.

use std::sync::atomic::Ordering;

use shared::resp::{Protocol, ReplyWriter};
use smallvec::SmallVec;

use super::arguments::quoted;
use super::context::Context;
use super::{Access, Command, Keys, table};
use crate::client::{After, Client, QUEUE_BYTES_MAX, Queue, ReplyMode};
use crate::error::{CommandError, CommandResult};
use crate::loading;
use crate::node::count;
use crate::server::Server;
use crate::store::ShardSet;
use crate::store::key::Key;
use crate::transaction::{Clocks, Transaction};

/// Carries out one request and appends its reply to `out`.
pub(crate) fn execute(
    server: &Server,
    client: &mut Client,
    arguments: &[&[u8]],
    clocks: Clocks,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    if let Err(error) = dispatch(server, client, arguments, clocks, out) {
        out.truncate(start);
        count(&server.stats.error_replies, 1);
        ReplyWriter::new(out, client.protocol).error(&error.to_string());
    }
    if let After::Wait { silent, .. } | After::Save { silent, .. } | After::Block { silent, .. } =
        &mut client.after
    {
        *silent = matches!(client.reply_mode, ReplyMode::Off | ReplyMode::Skip);
    }
    // What tells of listening comes like the messages themselves, whatever becomes of replies.
    let is_reply = !super::pubsub::is_pushed(client.last_command);
    match client.reply_mode {
        ReplyMode::On => {}
        ReplyMode::Off if !is_reply => {}
        ReplyMode::Skip if !is_reply => client.reply_mode = ReplyMode::On,
        ReplyMode::Off => out.truncate(start),
        ReplyMode::Skip => {
            out.truncate(start);
            client.reply_mode = ReplyMode::On;
        }
        ReplyMode::SkipNext => client.reply_mode = ReplyMode::Skip,
    }
}

fn dispatch(
    server: &Server,
    client: &mut Client,
    arguments: &[&[u8]],
    clocks: Clocks,
    out: &mut Vec<u8>,
) -> CommandResult {
    let command = match find(arguments) {
        Ok(command) => command,
        Err(CommandError::WrongArity(name)) if name == "exec" => {
            super::transaction::drop_queue(server, client);
            let text = format!(
                "EXECABORT Transaction discarded because of: wrong number of arguments for '{name}' command"
            );
            return Err(CommandError::composed(text));
        }
        Err(error) => {
            if let Some(queue) = &mut client.queue {
                queue.refused = true;
            }
            return Err(error);
        }
    };
    client.last_command = command.name;
    let permitted = check_loaded(server, command);
    if let Err(error) =
        permitted.and_then(|()| if command.access == Access::Write { check_role(server) } else { Ok(()) })
    {
        if let Some(queue) = &mut client.queue {
            queue.refused = true;
        }
        return Err(error);
    }
    if client.subscriptions.is_some()
        && client.protocol == Protocol::Resp2
        && !super::pubsub::is_for_listeners(command)
    {
        if let Some(queue) = &mut client.queue {
            queue.refused = true;
        }
        return Err(CommandError::composed(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context",
            command.name
        )));
    }
    if client.queue.is_some() && !command.has_flag("no_multi_queue") {
        return queue(client, command, arguments, out);
    }
    if command.name == "exec" {
        return exec(server, client, clocks, out);
    }
    let set = shards_of(command, arguments);
    let mut transaction = Transaction::begin(&server.node, set, clocks, command.access == Access::Write)?;
    let result = run(server, client, command, arguments, &mut transaction, clocks, out, false);
    finish(server, client, transaction);
    super::blocking::serve(server);
    result
}

/// Before the node is there nothing is carried out that needs its data.
fn check_loaded(server: &Server, command: &Command) -> CommandResult {
    if server.node.is_loading() && !loading::is_permitted(command) {
        return Err(CommandError::text("LOADING Redis is loading the dataset in memory"));
    }
    Ok(())
}

/// A read-only node takes no client's writes.
pub(super) fn check_role(server: &Server) -> CommandResult {
    if server.node.settings.is_read_only() {
        return Err(CommandError::text("READONLY You can't write against a read only replica."));
    }
    Ok(())
}

/// The row of the command, or of the subcommand if it is a container.
pub(crate) fn find(arguments: &[&[u8]]) -> Result<&'static Command, CommandError> {
    let name = arguments[0];
    let Some(mut command) = table::find(name) else { return Err(unknown(arguments)) };
    if command.has_flag("container") && arguments.len() > 1 {
        command = table::find_subcommand(command, arguments[1]).ok_or_else(|| {
            CommandError::composed(format!(
                "ERR unknown subcommand '{:.128}'. Try {} HELP.",
                quoted(arguments[1]),
                command.name.to_ascii_uppercase()
            ))
        })?;
    }
    if command.accepts(arguments.len()) {
        Ok(command)
    } else {
        Err(CommandError::WrongArity(command.name.to_owned()))
    }
}

fn unknown(arguments: &[&[u8]]) -> CommandError {
    if let Some(error) = super::absent::error(arguments[0]) {
        return error;
    }
    let mut shown = String::new();
    for argument in &arguments[1..] {
        if shown.len() >= 128 {
            break;
        }
        let room = 128 - shown.len();
        shown.push_str(&format!("'{:.room$}' ", quoted(argument)));
    }
    CommandError::composed(format!(
        "ERR unknown command '{:.128}', with args beginning with: {shown}",
        quoted(arguments[0])
    ))
}

fn queue(
    client: &mut Client,
    command: &'static Command,
    arguments: &[&[u8]],
    out: &mut Vec<u8>,
) -> CommandResult {
    let queue = client.queue.get_or_insert_with(Queue::default);
    if command.has_flag("no_multi") {
        queue.refused = true;
        return Err(CommandError::text("ERR Command not allowed inside a transaction"));
    }
    queue.bytes += arguments.iter().map(|argument| argument.len()).sum::<usize>();
    if queue.bytes > QUEUE_BYTES_MAX {
        queue.refused = true;
        return Err(CommandError::text("ERR too many bytes are queued in this transaction"));
    }
    queue.commands.push((command, arguments.iter().map(|argument| Box::from(*argument)).collect()));
    client.record.queued.store(queue.commands.len() as i64, Ordering::Relaxed);
    ReplyWriter::new(out, client.protocol).simple("QUEUED");
    Ok(())
}

/// EXEC: all queued commands in one transaction, under the locks of all their shards.
fn exec(server: &Server, client: &mut Client, clocks: Clocks, out: &mut Vec<u8>) -> CommandResult {
    let Some(queue) = client.queue.take() else { return Err(CommandError::text("ERR EXEC without MULTI")) };
    client.record.queued.store(-1, Ordering::Relaxed);
    if queue.refused {
        super::transaction::unwatch_all(server, client);
        return Err(CommandError::text("EXECABORT Transaction discarded because of previous errors."));
    }
    let mut set = super::transaction::watched_shards(client);
    let mut writes = false;
    for (command, arguments) in &queue.commands {
        let arguments: SmallVec<[&[u8]; 8]> = arguments.iter().map(|argument| &**argument).collect();
        set = set.union(shards_of(command, &arguments));
        writes |= command.access == Access::Write;
    }
    let permitted = if writes { check_role(server) } else { Ok(()) };
    let started = permitted.and_then(|()| Ok(Transaction::begin(&server.node, set, clocks, writes)?));
    let mut transaction = match started {
        Ok(transaction) => transaction,
        Err(refused) => {
            super::transaction::unwatch_all(server, client);
            return Err(CommandError::composed(format!(
                "EXECABORT Transaction discarded because of: {refused}"
            )));
        }
    };
    if super::transaction::watch_broken(client, &transaction) {
        super::transaction::unwatch_in(client, &mut transaction);
        ReplyWriter::new(out, client.protocol).null_array();
        return Ok(());
    }
    super::transaction::unwatch_in(client, &mut transaction);
    ReplyWriter::new(out, client.protocol).array(queue.commands.len());
    for (command, arguments) in &queue.commands {
        let arguments: SmallVec<[&[u8]; 8]> = arguments.iter().map(|argument| &**argument).collect();
        client.last_command = command.name;
        let start = out.len();
        if let Err(error) = run(server, client, command, &arguments, &mut transaction, clocks, out, true) {
            out.truncate(start);
            count(&server.stats.error_replies, 1);
            ReplyWriter::new(out, client.protocol).error(&error.to_string());
        }
    }
    finish(server, client, transaction);
    super::blocking::serve(server);
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the one place where a context is put together")]
fn run<'a>(
    server: &Server,
    client: &mut Client,
    command: &Command,
    arguments: &[&'a [u8]],
    transaction: &mut Transaction<'a>,
    clocks: Clocks,
    out: &mut Vec<u8>,
    in_exec: bool,
) -> CommandResult {
    let reply = ReplyWriter::new(out, client.protocol);
    let mut context = Context { server, client, transaction, reply, clocks, in_exec };
    (command.handler)(&mut context, arguments)
}

/// Ends a transaction of the client's, and counts what it did.
pub(super) fn finish(server: &Server, client: &mut Client, mut transaction: Transaction<'_>) {
    let notices = transaction.take_notices();
    if let Some(version) = transaction.written() {
        client.last_write = Some(version);
        count(&server.stats.changes_made, transaction.change_count() as u64);
    }
    let lookups = transaction.lookups();
    if lookups.hits > 0 {
        count(&server.stats.keyspace_hits, lookups.hits);
    }
    if lookups.misses > 0 {
        count(&server.stats.keyspace_misses, lookups.misses);
    }
    transaction.commit();
    server.notify(notices);
}

/// A key's shard does not depend on its database, so a SELECT in the queue changes nothing here.
fn shards_of(command: &Command, arguments: &[&[u8]]) -> ShardSet {
    let shard = |key: &[u8]| Key::new(0, key).shard();
    match command.keys {
        Keys::None => ShardSet::EMPTY,
        Keys::All => ShardSet::ALL,
        Keys::Sort if super::sort::reads_unnamed(arguments) => ShardSet::ALL,
        Keys::Range { first, last, .. } if first as isize == last && arguments.len() > first => {
            ShardSet::of(shard(arguments[first]))
        }
        ref keys => keys.of(arguments).iter().fold(ShardSet::EMPTY, |set, key| set.with(shard(key))),
    }
}
