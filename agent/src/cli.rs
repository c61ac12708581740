//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;
use async_signal::{Signal, Signals};
use async_std::channel;
use futures_util::StreamExt;
use slog::{Logger, error, info, warn};

use crate::accept::CONNECTIONS_MAX;
use crate::config::{Config, ConfigError, Settings};
use crate::descriptors;
use crate::logging;
use crate::operator::{DiallingRequest, NodeRequest, client};
use crate::peers::Peers;
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
    Members(Members),
    Forget(Forget),
    Verify(Verify),
    Repair(Repair),
    Reissue(Reissue),
    Peers(PeersCommand),
}

/// Link the node with its peers, until SIGINT or SIGTERM. SIGHUP has it dial the peers that its configuration file names
/// now.
#[derive(FromArgs, Clone)]
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
    /// where to listen for operators: the path of a Unix socket, for its owner only (default: not at all)
    #[argh(option)]
    control: Option<PathBuf>,
    /// how what is sent to peers is compressed, if they read that: zstd, lz4 or none (default none)
    #[argh(option)]
    compress: Option<String>,
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

/// List the members of the group, as the node of a running agent knows them.
#[derive(FromArgs)]
#[argh(subcommand, name = "members")]
struct Members {
    /// the agent's control socket, as it was given to run
    #[argh(option)]
    control: PathBuf,
    /// print lines of JSON
    #[argh(switch)]
    json: bool,
}

/// Forget a member that will not come back, so that nobody waits for it. Says first what that means.
#[derive(FromArgs)]
#[argh(subcommand, name = "forget")]
struct Forget {
    /// the agent's control socket, as it was given to run
    #[argh(option)]
    control: PathBuf,
    /// do it without asking; needed where there is no terminal to ask at
    #[argh(switch)]
    yes: bool,
    /// print lines of JSON
    #[argh(switch)]
    json: bool,
    /// the member's name
    #[argh(positional)]
    name: String,
}

/// Compare the node with those of linked peers, while they serve. Exits with 1 if a key differs, with 2 if it could not be
/// done.
#[derive(FromArgs)]
#[argh(subcommand, name = "verify")]
struct Verify {
    /// the agent's control socket, as it was given to run
    #[argh(option)]
    control: PathBuf,
    /// the name of the peer to compare with (default: all linked ones)
    #[argh(option)]
    peer: Option<String>,
    /// compare values and expiry, too, not only versions
    #[argh(switch)]
    deep: bool,
    /// print lines of JSON
    #[argh(switch)]
    json: bool,
}

/// Make good the differences between the node and those of linked peers: nothing is dropped. Exits with 2 if it could not be done.
#[derive(FromArgs)]
#[argh(subcommand, name = "repair")]
struct Repair {
    /// the agent's control socket, as it was given to run
    #[argh(option)]
    control: PathBuf,
    /// the name of the peer (default: all linked ones)
    #[argh(option)]
    peer: Option<String>,
    /// print lines of JSON
    #[argh(switch)]
    json: bool,
}

/// List the peers that a running agent dials, or change them. Others may dial it besides. A change holds until the agent
/// stops, or is told by SIGHUP to read its configuration file again.
#[derive(FromArgs)]
#[argh(subcommand, name = "peers")]
struct PeersCommand {
    /// the agent's control socket, as it was given to run
    #[argh(option)]
    control: PathBuf,
    /// print lines of JSON
    #[argh(switch)]
    json: bool,
    /// nothing, or: add ws://HOST:PORT, or: remove ws://HOST:PORT
    #[argh(positional)]
    change: Vec<String>,
}

/// Have the node put back its clock, which was ahead, and write anew what it had stamped with the future. Its host's
/// clock must be right by now.
#[derive(FromArgs)]
#[argh(subcommand, name = "reissue")]
struct Reissue {
    /// the agent's control socket, as it was given to run
    #[argh(option)]
    control: PathBuf,
    /// do it although other members are ahead of the node's clock: theirs were wrong, too
    #[argh(switch)]
    force: bool,
    /// print lines of JSON
    #[argh(switch)]
    json: bool,
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
        Some(Command::Run(run)) => match run.config() {
            Ok(config) => runtime::block_on(run_agent(run, config)),
            Err(error) => fail(&error.to_string()),
        },
        Some(Command::Tail(Tail { node, from })) => ended(tail::run(node.as_deref(), from.as_deref())),
        Some(Command::Members(Members { control, json })) => {
            ended(client::ask(&control, NodeRequest::Members, json))
        }
        Some(Command::Forget(Forget { control, yes, json, name })) => {
            let confirmed = client::confirm_forget(&name, yes);
            ended(confirmed.and_then(|()| client::ask(&control, NodeRequest::Forget { name }, json)))
        }
        Some(Command::Verify(Verify { control, peer, deep, json })) => {
            client::verify(&control, NodeRequest::Verify { peer, deep }, json)
        }
        Some(Command::Repair(Repair { control, peer, json })) => {
            client::repair(&control, NodeRequest::Repair { peer }, json)
        }
        Some(Command::Reissue(Reissue { control, force, json })) => {
            ended(client::ask(&control, NodeRequest::Reissue { force }, json))
        }
        Some(Command::Peers(PeersCommand { control, json, change })) => match peers_request(change) {
            Some(request) => ended(client::ask(&control, request, json)),
            None => fail("say: peers, or peers add ws://HOST:PORT, or peers remove ws://HOST:PORT"),
        },
        None => {
            fail("say what to do: run, tail, members, peers, forget, verify, repair or reissue; see --help")
        }
    }
}

fn ended<E: std::error::Error>(ended: Result<(), E>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("tandem-agent: {error}");
    ExitCode::FAILURE
}

fn peers_request(change: Vec<String>) -> Option<DiallingRequest> {
    let mut words = change.into_iter();
    match (words.next().as_deref(), words.next(), words.next()) {
        (None, ..) => Some(DiallingRequest::Peers),
        (Some("add"), Some(url), None) => Some(DiallingRequest::AddPeer { url }),
        (Some("remove"), Some(url), None) => Some(DiallingRequest::RemovePeer { url }),
        _ => None,
    }
}

impl Run {
    /// Puts flags, file and defaults together; the file is read anew.
    fn config(&self) -> Result<Config, ConfigError> {
        let Self { config, node, listen, peer, group, control, compress, log_level, log_format } =
            self.clone();
        let flags = Settings { node, listen, peer, group, control, compress, log_level, log_format };
        match config {
            Some(path) => flags.or(Settings::read(&path)?).parse(),
            None => flags.parse(),
        }
    }
}

/// Dials the peers that the configuration names now. Whatever else has changed there waits for the next start.
fn reload(run: &Run, running: &Config, peers: &Peers, logger: &Logger) {
    if run.config.is_none() {
        return warn!(logger, "there is no configuration file to read again: start the agent with --config");
    }
    match run.config() {
        Ok(config) => {
            let restarts = Config { peers: Vec::new(), ..config.clone() };
            if restarts != (Config { peers: Vec::new(), ..running.clone() }) {
                warn!(
                    logger,
                    "besides the peers the configuration has changed: that takes effect when the agent is started again"
                );
            }
            info!(logger, "configuration is read again"; "peers" => config.peers.len());
            peers.set(&config.peers);
        }
        Err(error) => {
            error!(logger, "configuration is not read again, all stays as it is"; "error" => %error)
        }
    }
}

async fn run_agent(run: Run, config: Config) -> ExitCode {
    let (logger, _flushed_when_dropped) = logging::root(config.log_level, config.log_format);
    let mut signals = match Signals::new([Signal::Int, Signal::Term, Signal::Hup]) {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot wait for signals: {error}")),
    };
    if let Err(links) = descriptors::make_room(CONNECTIONS_MAX) {
        warn!(logger, "the limit of open files leaves room for fewer links"; "links" => links);
    }
    let agent = match Agent::bind(config.clone(), logger.clone()).await {
        Ok(agent) => agent,
        Err(error) => return fail(&error.to_string()),
    };
    let (stop, stopped) = channel::bounded(1);
    let peers = agent.peers();
    let waiting = runtime::spawn(async move {
        while let Some(Ok(signal)) = signals.next().await {
            info!(logger, "signal received"; "signal" => ?signal);
            if signal != Signal::Hup {
                break;
            }
            reload(&run, &config, &peers, &logger);
        }
        drop(stop);
    });
    agent.run(stopped).await;
    waiting.cancel().await;
    ExitCode::SUCCESS
}
