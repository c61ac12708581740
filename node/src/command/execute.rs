//! How a command is carried out: found, checked, queued by MULTI or run under its shards' locks.

use std::sync::atomic::Ordering;

use shared::resp::{Protocol, ReplyWriter};
use smallvec::SmallVec;

use super::arguments::quoted;
use super::context::Context;
use super::table::Row;
use super::{Access, Command, Keys, table};
use crate::client::{After, Client, QUEUE_BYTES_MAX, Queue, ReplyMode};
use crate::error::{CommandError, CommandResult};
use crate::loading;
use crate::node::count;
use crate::server::Server;
use crate::stopwatch::{Began, Call};
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
        reply_error(server, client, &error, out);
    }
    if let After::Wait { silent, .. } | After::Save { silent, .. } | After::Block { silent, .. } =
        &mut client.after
    {
        *silent = matches!(client.reply_mode, ReplyMode::Off | ReplyMode::Skip);
    }
    if client.reply_mode == ReplyMode::On {
        return;
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

/// Gives an error for a reply, and counts it.
fn reply_error(server: &Server, client: &Client, error: &CommandError, out: &mut Vec<u8>) {
    let text = error.to_string();
    server.count_error(&text);
    ReplyWriter::new(out, client.protocol).error(&text);
}

fn dispatch(
    server: &Server,
    client: &mut Client,
    arguments: &[&[u8]],
    clocks: Clocks,
    out: &mut Vec<u8>,
) -> CommandResult {
    let row = find_again(client, arguments).map_err(|error| refuse_unfit(server, client, error))?;
    client.last_command = row.name;
    client.last_row = Some(row).filter(|row| !row.is_subcommand && !row.has_flag("container"));
    if let Err(error) = admit(server, client, row) {
        return Err(refuse(server, client, row, error));
    }
    if let Err(error) = super::out_of_memory::make_room(server, client, row, clocks) {
        return Err(refuse_exec(server, client, row, error));
    }
    if client.queue.is_some() && !row.has_flag("no_multi_queue") {
        return queue(client, row, arguments, out)
            .inspect_err(|_| server.statistics.count_rejected(client.record.worker, row));
    }
    let worker = client.record.worker;
    let began = client.stopwatch.begin(server, worker, row, arguments);
    let start = out.len();
    let result = if row.name == "exec" {
        exec(server, client, clocks, out)
    } else {
        let only = row.keys.only(arguments).map(|key| Key::new(client.db, key));
        let set = only.map_or_else(|| shards_of(row, arguments), |key| ShardSet::of(key.shard()));
        let writes = row.access == Access::Write;
        let mut transaction = Transaction::begin(&server.node, set, clocks, writes)
            .map_err(|refused| refuse(server, client, row, refused.into()))?;
        let result = run(server, client, row, arguments, only, &mut transaction, clocks, out, false);
        finish(server, client, transaction);
        result
    };
    note_end(server, client, row, arguments, began, out.len() - start, &result);
    super::blocking::serve(server);
    result
}

/// Counts and shows a command that was carried out.
fn note_end(
    server: &Server,
    client: &mut Client,
    row: &'static Row,
    arguments: &[&[u8]],
    began: Began,
    reply_bytes: usize,
    result: &CommandResult,
) {
    let worker = client.record.worker;
    let waits = matches!(client.after, After::Block { .. });
    let call = Call { client: &client.record, row, arguments, waits };
    match began {
        None => client.stopwatch.end_light(server, worker, row, reply_bytes),
        Some(began) => client.stopwatch.end(server, &call, began, reply_bytes),
    }
    if result.is_err() {
        server.statistics.count_failed(worker, row);
    }
    if server.monitors.is_any() {
        server.monitors.show(&call, client.db, server);
    }
}

/// Whether a command may be begun, or queued.
fn admit(server: &Server, client: &Client, row: &Row) -> CommandResult {
    check_loaded(server, row)?;
    if row.access == Access::Write {
        check_role(server)?;
    }
    let tells_apart = client.subscriptions.is_none() || client.protocol != Protocol::Resp2;
    if tells_apart || super::pubsub::is_for_listeners(row) {
        return Ok(());
    }
    Err(CommandError::composed(format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
         this context",
        row.name
    )))
}

/// What becomes of a command that is not begun: an EXEC that follows carries out nothing.
fn refuse(server: &Server, client: &mut Client, row: &Row, error: CommandError) -> CommandError {
    server.statistics.count_rejected(client.record.worker, row);
    if let Some(queue) = &mut client.queue {
        queue.refused = true;
    }
    error
}

/// As [`refuse`], for want of memory: an EXEC then drops what was queued.
fn refuse_exec(server: &Server, client: &mut Client, row: &Row, error: CommandError) -> CommandError {
    if row.name != "exec" {
        return refuse(server, client, row, error);
    }
    server.statistics.count_rejected(client.record.worker, row);
    super::transaction::drop_queue(server, client);
    CommandError::composed(format!("EXECABORT Transaction discarded because of: {error}"))
}

/// As [`refuse`], for what is no command, or has too few or too many arguments.
fn refuse_unfit(server: &Server, client: &mut Client, error: CommandError) -> CommandError {
    let CommandError::WrongArity(name) = &error else {
        if let Some(queue) = &mut client.queue {
            queue.refused = true;
        }
        return error;
    };
    let Some(row) = table::find(name.as_bytes()) else { return error };
    if row.name != "exec" {
        return refuse(server, client, row, error);
    }
    server.statistics.count_rejected(client.record.worker, row);
    super::transaction::drop_queue(server, client);
    CommandError::composed(
        "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command".to_owned(),
    )
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

/// As [`find`], at once if it is the client's last command again.
fn find_again(client: &Client, arguments: &[&[u8]]) -> Result<&'static Row, CommandError> {
    let is_again = |row: &&'static Row| {
        arguments[0].eq_ignore_ascii_case(row.name.as_bytes()) && row.accepts(arguments.len())
    };
    client.last_row.filter(is_again).map_or_else(|| find(arguments), Ok)
}

/// The row of the command, or of the subcommand if it is a container.
pub(crate) fn find(arguments: &[&[u8]]) -> Result<&'static Row, CommandError> {
    let name = arguments[0];
    let Some(mut command) = table::find(name).filter(|row| !row.is_subcommand) else {
        return Err(unknown(arguments));
    };
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
    command: &'static Row,
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
        client.stopwatch.request_bytes = arguments.iter().map(|argument| argument.len()).sum();
        let began = client.stopwatch.begin(server, client.record.worker, command, &arguments);
        let start = out.len();
        let result = run(server, client, command, &arguments, None, &mut transaction, clocks, out, true);
        if let Err(error) = &result {
            out.truncate(start);
            reply_error(server, client, error, out);
        }
        note_end(server, client, command, &arguments, began, out.len() - start, &result);
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
    only: Option<Key<'a>>,
    transaction: &mut Transaction<'a>,
    clocks: Clocks,
    out: &mut Vec<u8>,
    in_exec: bool,
) -> CommandResult {
    let reply = ReplyWriter::new(out, client.protocol);
    let mut context = Context { server, client, only, transaction, reply, clocks, in_exec };
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
        ref keys => keys.of(arguments).iter().fold(ShardSet::EMPTY, |set, key| set.with(shard(key))),
    }
}
