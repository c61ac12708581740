//! What the node takes of memory.
//!
//! The allocator keeps no account that could be read cheaply. What the data take is counted as they change, and what else
//! is large is asked for.

use std::sync::atomic::Ordering;

use super::{Context, Page};
use crate::process;

pub(super) fn write(page: &mut Page, context: &Context<'_, '_>) {
    let (server, process) = (context.server, process::Memory::read());
    let (memory, settings) = (&server.node.memory, &server.node.settings.memory);
    let dataset: u64 = context.transaction.shards().map(|shard| shard.bytes() as u64).sum();
    let log = context.transaction.log_status().memory_bytes as u64;
    let clients: u64 = server
        .clients
        .list()
        .iter()
        .map(|record| {
            let (input, output) = (&record.input_bytes, &record.output_bytes);
            (input.load(Ordering::Relaxed) + output.load(Ordering::Relaxed)) as u64
        })
        .sum();
    let used = dataset + log + clients;
    page.bytes("used_memory", used);
    page.bytes("used_memory_rss", process.resident);
    page.bytes("used_memory_peak", memory.peak.note(used));
    page.field("used_memory_overhead", log + clients);
    page.field("used_memory_dataset", dataset);
    page.bytes("total_system_memory", process.system);
    page.bytes("maxmemory", settings.limit() as u64);
    page.field("maxmemory_policy", settings.policy().name());
    page.bytes("maxmemory_group", memory.limit().unwrap_or(0) as u64);
    page.field(
        "mem_fragmentation_ratio",
        format_args!("{:.2}", process.resident as f64 / used.max(1) as f64),
    );
    page.field("mem_not_counted_for_evict", log + clients);
    page.field("mem_clients_normal", clients);
    page.field("mem_aof_buffer", log);
    page.field("mem_allocator", "mimalloc");
}
