//! MEMORY: what a key takes, and all of them.

use shared::change::DATABASES;

use crate::command::arguments::{integer, is};
use crate::command::context::Context;
use crate::command::introspect::reply_help;
use crate::error::{CommandError, CommandResult};
use crate::process::Memory;
use crate::store::shard::Shard;

pub(super) fn help(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    reply_help(
        &mut context.reply,
        "MEMORY",
        &[
            ("DOCTOR", "How memory is used, for people."),
            ("MALLOC-STATS", "That the allocator keeps no account."),
            ("PURGE", "Accepted: what is free goes back to the system by itself."),
            ("STATS", "How memory is used."),
            (
                "USAGE <key> [SAMPLES <count>]",
                "The bytes that the key and its value take here, versions and what is\n\
                 removed and not yet forgotten everywhere included. All elements are counted,\n\
                 whatever SAMPLES says.",
            ),
        ],
    );
    Ok(())
}

pub(super) fn usage<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    match arguments[3..] {
        [] => {}
        [option, count] if is(option, "samples") => {
            if integer(count)? < 0 {
                return Err(CommandError::Syntax);
            }
        }
        _ => return Err(CommandError::Syntax),
    }
    match context.transaction.memory(&context.key(arguments[2])) {
        Some(bytes) => context.reply.integer(bytes as i64),
        None => context.reply.null(),
    }
    Ok(())
}

/// The fields of Redis's that there is something true to tell of. As in INFO, what is resident is what is used.
pub(super) fn stats(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    let memory = Memory::read();
    let keys_of = |db: u8| -> usize { context.transaction.shards().map(|shard| shard.live(db)).sum() };
    let keys: usize = (0..DATABASES).map(keys_of).sum();
    let expiring: usize = (0..DATABASES)
        .map(|db| context.transaction.shards().map(|shard| Shard::expiring(shard, db)).sum::<usize>())
        .sum();
    let clients = context.server.clients.list();
    let buffers: usize = clients.iter().map(|client| client.buffered_bytes()).sum();
    let numbers: [(&str, u64); 7] = [
        ("peak.allocated", memory.peak),
        ("total.allocated", memory.resident),
        ("clients.normal", buffers as u64),
        ("keys.count", keys as u64),
        ("keys.expiring", expiring as u64),
        ("keys.bytes-per-key", memory.resident / (keys as u64).max(1)),
        ("allocator.resident", memory.resident),
    ];
    let reply = &mut context.reply;
    reply.map(numbers.len() + 1);
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(number as i64);
    }
    reply.bulk(b"peak.percentage");
    reply.double(memory.resident as f64 * 100.0 / memory.peak.max(1) as f64);
    Ok(())
}

pub(super) fn doctor(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    let Memory { resident, peak, system } = Memory::read();
    let advice = match () {
        () if system > 0 && resident > system / 10 * 8 => {
            "It takes most of the host's memory: move keys to another group, or give the host more."
        }
        () if peak > resident / 10 * 15 => {
            "It took far more at its peak: what is free goes back to the system over time."
        }
        () => "There is nothing that looks wrong.",
    };
    let mebibytes = |bytes: u64| bytes >> 20;
    let text = format!(
        "The node has {} MiB in memory, {} MiB at its peak, of {} MiB that the host has. {advice}\n",
        mebibytes(resident),
        mebibytes(peak),
        mebibytes(system),
    );
    context.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// In Redis's words for any allocator but its own.
pub(super) fn allocator(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.bulk(b"Stats not supported for the current allocator");
    Ok(())
}

pub(super) fn purge(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.ok();
    Ok(())
}
