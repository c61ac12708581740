//! What becomes of commands when the data take more memory than they may.
//!
//! As in Redis, keys are removed before a command that may need memory is carried out, and where nothing can be removed, it is
//! refused. Within MULTI all are, for queues take memory, too. What peers write is never refused. Reads wait for nothing.

use super::Command;
use crate::client::Client;
use crate::error::{CommandError, CommandResult};
use crate::memory::evict::{Relief, relieve, run_keys};
use crate::server::Server;
use crate::transaction::Clocks;

/// Makes room for a command if there is none, or says that it cannot be carried out. The caller holds no lock.
#[inline]
pub(super) fn make_room(
    server: &Server,
    client: &Client,
    command: &Command,
    clocks: Clocks,
) -> CommandResult {
    if server.node.memory.is_exceeded(&server.node.store.account) {
        make_room_for(server, client, command, clocks)
    } else {
        Ok(())
    }
}

#[cold]
fn make_room_for(server: &Server, client: &Client, command: &Command, clocks: Clocks) -> CommandResult {
    let needs_memory = needs_memory(client, command);
    if !needs_memory && command.name != "feed|apply" {
        return Ok(());
    }
    if relieve(server, run_keys(server), clocks) == Relief::None && needs_memory {
        return Err(CommandError::text("OOM command not allowed when used memory > 'maxmemory'."));
    }
    Ok(())
}

fn needs_memory(client: &Client, command: &Command) -> bool {
    let queue = client.queue.as_ref();
    match command.name {
        "exec" => {
            queue.is_some_and(|queue| queue.commands.iter().any(|(queued, _)| queued.has_flag("denyoom")))
        }
        "multi" | "discard" | "watch" | "unwatch" | "quit" | "reset" => false,
        _ => queue.is_some() || command.has_flag("denyoom"),
    }
}
