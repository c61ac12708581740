//! tandem-node: a lean RESP store that emits a timestamped change feed.
//!
//! A write is merged into the store and appended to the log in one step; the log is the only source of the feed.
//! Read it in this order:
//!
//! - [`store`]: keys, cells and the rules by which writes merge. Pure.
//! - [`log`]: the batches of all origins, in memory and on disk.
//! - [`memory`]: how much memory the data may take, and what is removed when they take more.
//! - [`transaction`]: how a command reads and writes both as one.
//! - [`node`]: store and log together, and how a remote batch is merged. No sockets, no threads.
//! - [`command`]: the table of commands and their handlers.
//! - [`server`], [`worker`], [`connection`], [`client`]: what serves clients.
//! - [`follow`]: streams of the feed, on the [`runtime`].
//! - [`image`], [`snapshots`]: the store as bytes, and when it is written to disk whole.
//! - [`open`], [`loading`]: what a start makes of a directory, and what clients are told meanwhile.
//! - [`backup`]: all of it as files, for another node to start from.
//! - [`allocator`]: whose memory all of it takes, and when it gives it back. [`process`]: what the system tells of that.
//! - [`start`]: how a node starts and stops.
//! - `simulation`: all of it but for threads, sockets and clocks, for the simulator (feature `simulation`).

#![allow(rustdoc::private_intra_doc_links, reason = "this map is for who reads the code")]

mod allocator;

mod process;

mod store;

mod random;

mod log;

mod memory;

mod transaction;

mod node;

mod image;

mod snapshots;

mod open;

mod loading;

mod backup;

mod pause;

mod peers;

mod pubsub;

mod notifications;

mod monitors;

mod statistics;

mod stopwatch;

mod slow_log;

mod latency;

mod group;

mod lock_order;

mod membership;

mod readiness;

mod conversation;

mod error;

mod command;

mod client;

mod connection;

mod worker;

mod timer;

mod follow;

mod runtime;

mod reaper;

mod evictor;

mod maintainer;

mod server;

mod settings;

mod config;

mod descriptors;

mod start;

#[cfg(feature = "simulation")]
pub mod simulation;

use std::process::ExitCode;

use shared::id::NodeId;
use slog::{Drain, Logger, error, o};

use crate::config::{BackupFlags, Config, Flags, LogFormat, Operation};
use crate::server::Stopped;

/// Runs a node as the command line says, until it is stopped.
#[must_use]
pub fn main() -> ExitCode {
    allocator::keep_all();
    let flags: Flags = argh::from_env();
    if flags.version {
        println!("tandem-node {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    if let Some(operation) = &flags.operation {
        return carry_out(operation);
    }
    let config = match Config::new(flags) {
        Ok(config) => config,
        Err(problem) => {
            eprintln!("tandem-node: {problem}");
            return ExitCode::FAILURE;
        }
    };
    // Flushes what is logged when it is dropped, last.
    let (logger, _flush) = logger(config.log_format, config.log_level);
    match start::run(config, &logger) {
        Ok(Stopped::Asked) => ExitCode::SUCCESS,
        Ok(Stopped::Failed) => ExitCode::FAILURE,
        Err(problem) => {
            error!(logger, "node cannot start"; "error" => %problem);
            ExitCode::FAILURE
        }
    }
}

fn carry_out(operation: &Operation) -> ExitCode {
    let text = |problem: &dyn std::error::Error| problem.to_string();
    let done = match operation {
        Operation::Backup(BackupFlags { target, node }) => {
            backup::take(node, target).map_err(|problem| text(&problem))
        }
        Operation::Restore(flags) => {
            let named = flags.name().map_err(|problem| text(&problem));
            let drawn = start::random().map_err(|problem| text(&problem));
            named.and_then(|name| {
                let node_id = NodeId(drawn?);
                backup::restore(&flags.backup, &flags.dir, &name, node_id).map_err(|problem| text(&problem))
            })
        }
    };
    match done {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("tandem-node: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Lines that are logged and not yet written; further ones are dropped, and how many is told.
const LOG_LINES: usize = 4096;

fn logger(format: LogFormat, level: slog::Level) -> (Logger, slog_async::AsyncGuard) {
    let drain: Box<dyn Drain<Ok = (), Err = slog::Never> + Send> = match format {
        LogFormat::Term => {
            let decorator = slog_term::TermDecorator::new().stderr().build();
            Box::new(slog_term::FullFormat::new(decorator).use_utc_timestamp().build().fuse())
        }
        LogFormat::Json => Box::new(slog_json::Json::default(std::io::stderr()).fuse()),
    };
    let drain = slog_async::Async::new(drain.filter_level(level).fuse()).chan_size(LOG_LINES);
    let (drain, flush) = drain.build_with_guard();
    (Logger::root(drain.fuse(), o!()), flush)
}
