//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;
use async_signal::{Signal, Signals};
use async_std::channel;
use futures_util::StreamExt;
use slog::info;

use crate::config::{Config, ConfigError, Settings};
use crate::logging;
use crate::run::Agent;
use crate::runtime;
use crate::tail;

/// Links a tandem-node with those of its peers. A flag's value is an argument of its own: --name value, not --name=value.
#[derive(FromArgs)]
struct Arguments {
    /// print the version and exit
    #[argh(switch)]
    version: bool,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Run(Run),
    Tail(Tail),
}

/// Link the node with its peers, until SIGINT or SIGTERM.
#[derive(FromArgs)]
#[argh(subcommand, name = "run")]
struct Run {
    /// TOML file with settings of the same names as these flags, which go before it
    #[argh(option)]
    config: Option<PathBuf>,
    /// where the node is: HOST:PORT or unix:PATH (default 127.0.0.1:6379)
    #[argh(option)]
    node: Option<String>,
    /// where to listen for peers: HOST:PORT, port 0 for any (default: not at all)
    #[argh(option)]
    listen: Option<String>,
    /// a peer to dial: ws://HOST:PORT; may be repeated
    #[argh(option)]
    peer: Vec<String>,
    /// the group's name, up to 128 bytes; a node keeps the first it is told, and refuses others (default tandem)
    #[argh(option)]
    group: Option<String>,
    /// what is logged: error, warn, info, debug or trace (default info)
    #[argh(option)]
    log_level: Option<String>,
    /// how it is logged, to standard error: term or json (default term)
    #[argh(option)]
    log_format: Option<String>,
}

/// Print the change feed of a node as JSON, a change a line. The last of each batch has the cursor to resume from.
#[derive(FromArgs)]
#[argh(subcommand, name = "tail")]
struct Tail {
    /// where the node is: HOST:PORT or unix:PATH (default 127.0.0.1:6379)
    #[argh(option)]
    node: Option<String>,
    /// a cursor, origin:timestamp,...;floor in hex: only what it does not cover is printed (default ;0, the log's start)
    #[argh(option)]
    from: Option<String>,
}

/// The program: reads the command line, and runs.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { version, command } = argh::from_env();
    if version {
        println!("tandem-agent {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    match command {
        Some(Command::Run(run)) => match settings(run).and_then(Settings::parse) {
            Ok(config) => runtime::block_on(run_agent(config)),
            Err(error) => fail(&error.to_string()),
        },
        Some(Command::Tail(Tail { node, from })) => match tail::run(node.as_deref(), from.as_deref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        },
        None => fail("say what to do: run or tail; see --help"),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("tandem-agent: {error}");
    ExitCode::FAILURE
}

fn settings(run: Run) -> Result<Settings, ConfigError> {
    let Run { config, node, listen, peer, group, log_level, log_format } = run;
    let flags = Settings { node, listen, peer, group, log_level, log_format };
    Ok(match config {
        Some(path) => flags.or(Settings::read(&path)?),
        None => flags,
    })
}

async fn run_agent(config: Config) -> ExitCode {
    let (logger, _flushed_when_dropped) = logging::root(config.log_level, config.log_format);
    let mut signals = match Signals::new([Signal::Int, Signal::Term]) {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot wait for signals: {error}")),
    };
    let agent = match Agent::bind(config, logger.clone()).await {
        Ok(agent) => agent,
        Err(error) => return fail(&error.to_string()),
    };
    let (stop, stopped) = channel::bounded(1);
    let waiting = runtime::spawn(async move {
        if let Some(Ok(signal)) = signals.next().await {
            info!(logger, "signal received"; "signal" => ?signal);
        }
        drop(stop);
    });
    agent.run(stopped).await;
    waiting.cancel().await;
    ExitCode::SUCCESS
}
