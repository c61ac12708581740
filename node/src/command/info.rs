//! INFO: the node in fields, under Redis's names wherever there is such a thing.
//!
//! What monitoring of Redis insists on and what has no meaning here is a constant. Replication has a section of its
//! own making, see [`replication`].

mod commands;

mod memory;

mod replication;

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use shared::change::DATABASES;

use super::arguments::is;
use super::connection::REDIS_VERSION;
use super::context::Context;
use super::{Access, Command, Keys};
use crate::error::CommandResult;
use crate::process;
use crate::pubsub::Topic;

pub(super) const COMMANDS: &[Command] = &[Command {
    name: "info",
    arity: -1,
    access: Access::None,
    flags: &["loading", "stale"],
    keys: Keys::All,
    handler: info,
}];

/// A section: its heading, and what writes its fields.
type Section = (&'static str, for<'p> fn(&mut Page, &Context<'_, 'p>));

/// In the order in which they are told, whatever the order in which they are asked for.
const SECTIONS: [Section; 12] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory::write),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication::write),
    ("CPU", cpu),
    ("Commandstats", commands::write_calls),
    ("Errorstats", commands::write_errors),
    ("Latencystats", commands::write_latencies),
    ("Cluster", cluster),
    ("Keyspace", keyspace),
];

fn info(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let asked = &arguments[1..];
    let asks = |word: &str| asked.iter().any(|name| is(name, word));
    let all = asks("all") || asks("everything");
    let default = all || asked.is_empty() || asks("default");
    let mut page = Page::default();
    for (heading, write) in SECTIONS {
        let is_long = matches!(heading, "Commandstats" | "Latencystats");
        if asks(heading) || if is_long { all } else { default } {
            page.begin_section(heading);
            write(&mut page, context);
        }
    }
    context.reply.verbatim("txt", page.0.as_bytes());
    Ok(())
}

/// The text of INFO, in the making.
#[derive(Default)]
struct Page(String);

impl Page {
    fn begin_section(&mut self, heading: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        // Writing to a string does not fail; the same below.
        let _ = write!(self.0, "# {heading}\r\n");
    }

    fn field(&mut self, name: impl Display, value: impl Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    fn count(&mut self, name: &str, counter: &AtomicU64) {
        self.field(name, counter.load(Ordering::Relaxed));
    }

    /// Fields that are zero here, as there is no such thing.
    fn zeros(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.field(name, 0));
    }

    /// A number of bytes, and the same for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(format_args!("{name}_human"), human(bytes));
    }
}

/// As Redis writes bytes for people: `1.50M`.
fn human(bytes: u64) -> String {
    const UNITS: [(u32, char); 4] = [(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')];
    match UNITS.iter().find(|(bits, _)| bytes >> bits > 0) {
        Some((bits, unit)) => format!("{:.2}{unit}", bytes as f64 / (1_u64 << bits) as f64),
        None => format!("{bytes}B"),
    }
}

fn server(page: &mut Page, context: &Context<'_, '_>) {
    let server = context.server;
    let uptime_s = context.clocks.mono_us / 1_000_000;
    let port = server.addresses.get().and_then(|addresses| addresses.first()).map(|address| address.port());
    page.field("redis_version", REDIS_VERSION);
    page.field("tandem_version", env!("CARGO_PKG_VERSION"));
    page.field("redis_mode", "standalone");
    page.field("os", process::operating_system());
    page.field("arch_bits", usize::BITS);
    page.field("multiplexing_api", "epoll");
    page.field("process_id", std::process::id());
    page.field("run_id", &server.run_id);
    page.field("tcp_port", port.unwrap_or(server.config.port));
    page.field("server_time_usec", context.clocks.wall.0.saturating_mul(1_000));
    page.field("uptime_in_seconds", uptime_s);
    page.field("uptime_in_days", uptime_s / 86_400);
    page.field("io_threads_active", u8::from(server.config.threads > 1));
    page.field("threads", server.config.threads);
}

fn clients(page: &mut Page, context: &Context<'_, '_>) {
    let server = context.server;
    page.field("connected_clients", server.clients.count());
    page.field("cluster_connections", 0);
    page.field("maxclients", server.node.settings.max_clients());
    page.field("blocked_clients", server.waiting() + server.blocked.count() + server.pause.held());
    page.zeros(&["tracking_clients", "clients_in_timeout_table"]);
}

fn persistence(page: &mut Page, context: &Context<'_, '_>) {
    let server = context.server;
    let log = context.transaction.log_status();
    let on_disk = server.config.dir.is_some();
    let snapshots = server.node.snapshots.status();
    let running_s = snapshots.running_since.map(|since| server.mono_ms().since(since) as i64 / 1_000);
    let is_loading = server.node.is_loading();
    page.field("loading", u8::from(is_loading));
    page.zeros(&["async_loading"]);
    page.field("rdb_changes_since_last_save", server.changes_unsaved());
    page.field("rdb_bgsave_in_progress", u8::from(running_s.is_some()));
    page.field("rdb_last_save_time", server.last_save_s());
    page.field("rdb_last_bgsave_status", if snapshots.last_failed { "err" } else { "ok" });
    page.field("rdb_last_bgsave_time_sec", snapshots.last_ms.map_or(-1, |ms| ms as i64 / 1_000));
    page.field("rdb_current_bgsave_time_sec", running_s.unwrap_or(-1));
    page.field("rdb_saves", snapshots.saved);
    page.field("aof_enabled", u8::from(on_disk));
    page.zeros(&["aof_rewrite_in_progress", "aof_rewrite_scheduled"]);
    page.field("aof_last_bgrewrite_status", "ok");
    page.field("aof_last_write_status", if log.fault.is_some() { "err" } else { "ok" });
    page.field("log_fsync", if on_disk { server.node.settings.fsync().name() } else { "none" });
    page.field("log_end", log.end.0);
    if on_disk {
        page.field("log_durable", log.durable.0);
    }
    if is_loading {
        loading(page, context);
    }
}

fn loading(page: &mut Page, context: &Context<'_, '_>) {
    let (server, progress) = (context.server, &context.server.progress);
    let (total, loaded) = (progress.total(), progress.loaded());
    let rest_ms = total.saturating_sub(loaded).saturating_mul(server.mono_ms().0) / loaded.max(1);
    page.field("loading_start_time", server.started.0 / 1_000);
    page.field("loading_total_bytes", total);
    page.field("loading_rdb_used_mem", 0);
    page.field("loading_loaded_bytes", loaded);
    page.field("loading_loaded_perc", format_args!("{:.2}", progress.percent()));
    page.field("loading_eta_seconds", if loaded > 0 { rest_ms / 1_000 } else { 1 });
}

fn stats(page: &mut Page, context: &Context<'_, '_>) {
    let stats = &context.server.stats;
    page.count("total_connections_received", &stats.connections_received);
    page.count("total_commands_processed", &stats.commands);
    page.field("instantaneous_ops_per_sec", context.server.rate.per_second());
    page.count("total_changes_made", &stats.changes_made);
    page.count("rejected_connections", &stats.connections_rejected);
    page.zeros(&["sync_full", "sync_partial_ok", "sync_partial_err"]);
    page.count("expired_keys", &stats.expired_keys);
    page.count("evicted_keys", &stats.evicted_keys);
    page.zeros(&["evicted_clients"]);
    page.count("keyspace_hits", &stats.keyspace_hits);
    page.count("keyspace_misses", &stats.keyspace_misses);
    page.field("pubsub_channels", context.server.pubsub.topics(Topic::Channel));
    page.field("pubsub_patterns", context.server.pubsub.topics(Topic::Pattern));
    let dropped = context.server.pubsub.dropped() + context.server.node.peers.lock().messages_dropped();
    page.field("pubsub_messages_dropped", dropped);
    page.zeros(&["latest_fork_usec", "total_forks"]);
    page.count("total_error_replies", &stats.error_replies);
}

/// Of the whole process, in seconds.
fn cpu(page: &mut Page, _: &Context<'_, '_>) {
    let (user, system) = process::cpu_seconds();
    page.field("used_cpu_sys", format_args!("{system:.6}"));
    page.field("used_cpu_user", format_args!("{user:.6}"));
}

fn cluster(page: &mut Page, _: &Context<'_, '_>) {
    page.field("cluster_enabled", 0);
}

/// As in Redis, keys that expired and were not removed yet count.
fn keyspace(page: &mut Page, context: &Context<'_, '_>) {
    for db in 0..DATABASES {
        let count = |of_shard: fn(&crate::store::shard::Shard, u8) -> usize| -> usize {
            context.transaction.shards().map(|shard| of_shard(shard, db)).sum()
        };
        let keys = count(crate::store::shard::Shard::live);
        if keys > 0 {
            let expires = count(crate::store::shard::Shard::expiring);
            page.field(format_args!("db{db}"), format_args!("keys={keys},expires={expires},avg_ttl=0"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_parted_by_an_empty_line() {
        let mut page = Page::default();
        page.begin_section("Memory");
        page.bytes("maxmemory", 0);
        page.begin_section("Cluster");
        page.zeros(&["cluster_enabled"]);
        let expected =
            "# Memory\r\nmaxmemory:0\r\nmaxmemory_human:0B\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n";
        assert_eq!(page.0, expected);
    }

    #[test]
    fn bytes_are_told_to_people_as_by_redis() {
        for (bytes, expected) in
            [(0, "0B"), (1_023, "1023B"), (1_024, "1.00K"), (1_138_904, "1.09M"), (25_276_510_208, "23.54G")]
        {
            assert_eq!(human(bytes), expected);
        }
    }
}
