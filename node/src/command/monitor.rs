//! MONITOR: this client is shown what all clients do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Command;
use super::context::Context;
use crate::client::Client;
use crate::error::{CommandError, CommandResult};
use crate::pubsub::Listener;
use crate::server::Server;

pub(super) const COMMANDS: &[Command] =
    &[Command::without_keys("monitor", 1, &["admin", "noscript", "loading", "stale"], monitor)];

fn monitor(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    if context.in_exec {
        return Err(CommandError::text("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    if context.client.monitor.is_none() {
        let listener = Arc::new(Listener::new(Arc::clone(&context.client.record)));
        context.server.monitors.add(&listener);
        context.client.record.is_monitor.store(true, Ordering::Relaxed);
        context.client.monitor = Some(listener);
    }
    context.reply.ok();
    Ok(())
}

/// The client is shown nothing any more.
pub(crate) fn leave(server: &Server, client: &mut Client) {
    if let Some(listener) = client.monitor.take() {
        server.monitors.remove(&listener);
        client.record.is_monitor.store(false, Ordering::Relaxed);
    }
}
