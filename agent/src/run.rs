//! An agent's life: from contact to contact with its node.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_std::channel::{self, Receiver};
use async_std::net::TcpListener;
use async_std::task;
use futures_util::future::{Either, select};
use slog::{Logger, debug, error, info, o, warn};

use crate::accept::{self, CurrentSession, Door};
use crate::backoff::Backoff;
use crate::config::Config;
use crate::control;
use crate::hub::{self, HubChannels, SessionEnd};
use crate::node_client::{NodeClient, NodeError};
use crate::operator::{ControlSocket, OperatorDesk};
use crate::peers::Peers;
use crate::publications::{self, DELIVERIES_MAX};
use crate::record::Ledger;
use crate::runtime;
use crate::session::{EVENTS_MAX, Session};

/// The hub has one question of each kind under way, at most; a new session's may follow those of the one before.
const QUESTIONS_MAX: usize = 8;

/// A node that stayed for this long is asked again without much delay when it is lost.
const GOOD_SESSION: Duration = Duration::from_secs(5);

/// The agent cannot listen where it was told to. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; is another agent running there?")]
pub struct BindError {
    address: String,
    error: std::io::Error,
}

/// An agent that listens, if it is to, and has not begun to work.
///
/// ```no_run
/// let config = agent::Config { listen: Some("127.0.0.1:0".into()), ..agent::Config::default() };
/// let agent = agent::runtime::block_on(agent::Agent::bind(config, slog::Logger::root(slog::Discard, slog::o!())))?;
/// println!("peers may dial ws://{}", agent.local_address().expect("it listens"));
/// let (stop, stopped) = async_std::channel::bounded(1);
/// let running = std::thread::spawn(move || agent::runtime::block_on(agent.run(stopped)));
/// drop(stop);
/// running.join().expect("it stops when it is told to");
/// # Ok::<(), agent::BindError>(())
/// ```
#[derive(Debug)]
pub struct Agent {
    config: Config,
    listener: Option<TcpListener>,
    local_address: Option<SocketAddr>,
    control: Option<ControlSocket>,
    ledger: Arc<Mutex<Ledger>>,
    peers: Peers,
    logger: Logger,
}

impl Agent {
    /// Begins to listen, if the configuration says where.
    ///
    /// # Errors
    /// If that address is taken or not this host's.
    pub async fn bind(config: Config, logger: Logger) -> Result<Self, BindError> {
        let (mut listener, mut local_address) = (None, None);
        if let Some(address) = &config.listen {
            let failed = |error| BindError { address: address.clone(), error };
            let addresses = runtime::resolve(address).await.map_err(failed)?;
            let bound = TcpListener::bind(&addresses[..]).await.map_err(failed)?;
            let local = bound.local_addr().map_err(failed)?;
            info!(logger, "listening for peers"; "address" => %local);
            (listener, local_address) = (Some(bound), Some(local));
        }
        let mut control = None;
        if let Some(path) = &config.control {
            let failed = |error| BindError { address: path.display().to_string(), error };
            control = Some(ControlSocket::bind(path).await.map_err(failed)?);
        }
        let ledger = Arc::<Mutex<Ledger>>::default();
        let peers = Peers::new(&config.peers, ledger.clone(), logger.clone());
        Ok(Self { config, listener, local_address, control, ledger, peers, logger })
    }

    /// The peers that it dials, to be changed while it runs.
    #[must_use]
    pub fn peers(&self) -> Peers {
        self.peers.clone()
    }

    /// Where it listens: with the port that the system chose, if it was to choose.
    #[must_use]
    pub const fn local_address(&self) -> Option<SocketAddr> {
        self.local_address
    }

    /// Works until `stop` is closed, or something comes from it: then every link says goodbye.
    pub async fn run(self, stop: Receiver<()>) {
        let Self { config, listener, control, ledger, peers, logger, .. } = self;
        let operators = control.map(|control| {
            let desk = OperatorDesk {
                node: config.node.clone(),
                ledger: ledger.clone(),
                peers: peers.clone(),
                logger: logger.clone(),
            };
            runtime::spawn(control.serve(desk))
        });
        let current = CurrentSession::default();
        let accepting = listener.map(|listener| {
            let door = Door { node: config.node.clone(), current: current.clone(), logger: logger.clone() };
            runtime::spawn(accept::run(listener, door))
        });
        let mut life = Life { ledger, peers, current, random: fastrand::Rng::new(), config, logger, stop };
        life.go_on().await;
        if let Some(accepting) = accepting {
            accepting.cancel().await;
        }
        if let Some(operators) = operators {
            operators.cancel().await;
        }
        info!(life.logger, "stopped");
    }
}

struct Life {
    config: Config,
    ledger: Arc<Mutex<Ledger>>,
    peers: Peers,
    current: CurrentSession,
    random: fastrand::Rng,
    logger: Logger,
    stop: Receiver<()>,
}

struct Contact {
    client: NodeClient,
    info: shared::feed::FeedInfo,
}

impl Life {
    async fn go_on(&mut self) {
        let mut backoff = Backoff::new(self.random.fork());
        while let Some(contact) = self.contact().await {
            let begun_at = Instant::now();
            match self.serve(contact).await {
                SessionEnd::Stopped => return,
                SessionEnd::NodeLost(error) => {
                    warn!(self.logger, "the node is lost, all links end"; "error" => error);
                }
                SessionEnd::NodeChanged(what) => {
                    info!(self.logger, "the node is another member now, all links begin again"; "node" => what);
                    continue;
                }
            }
            if begun_at.elapsed() >= GOOD_SESSION {
                backoff.reset();
            }
            if self.or_stop(task::sleep(backoff.next())).await.is_none() {
                return;
            }
        }
    }

    /// Tries until the node answers; none if the agent is to stop.
    async fn contact(&mut self) -> Option<Contact> {
        let mut backoff = Backoff::new(self.random.fork());
        let mut complaint = String::new();
        loop {
            let error = match self.or_stop(self.try_contact()).await? {
                Ok(contact) => return Some(contact),
                Err(error) => error,
            };
            let text = error.to_string();
            match error {
                _ if text == complaint => {
                    debug!(self.logger, "still no contact with the node"; "error" => &text)
                }
                NodeError::Refused(_, why) if why.starts_with("LOADING") => {
                    info!(self.logger, "the node is loading its data, trying again"; "node" => %self.config.node);
                }
                NodeError::Refused(..) | NodeError::Unexpected(..) | NodeError::Reply(_) => {
                    error!(self.logger, "the node does not take this agent, trying again";
                        "node" => %self.config.node, "group" => &self.config.group, "error" => &text);
                }
                _ => warn!(self.logger, "cannot reach the node, trying again";
                    "node" => %self.config.node, "error" => &text),
            }
            complaint = text;
            self.or_stop(task::sleep(backoff.next())).await?;
        }
    }

    async fn try_contact(&self) -> Result<Contact, NodeError> {
        let mut client = NodeClient::connect(&self.config.node).await?;
        client.group(&self.config.group).await?;
        let info = client.info().await?;
        Ok(Contact { client, info })
    }

    async fn or_stop<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let (future, stop) = (std::pin::pin!(future), std::pin::pin!(self.stop.recv()));
        match select(future, stop).await {
            Either::Left((value, _)) => Some(value),
            Either::Right(_) => None,
        }
    }

    /// Links the node with its peers until it is lost or the agent is to stop.
    async fn serve(&mut self, contact: Contact) -> SessionEnd {
        let Contact { client, info } = contact;
        info!(self.logger, "serving the node"; "node" => %self.config.node, "name" => &info.name,
            "node id" => %info.node_id, "origin" => %info.origin, "group" => &self.config.group);
        let (events, heard) = channel::bounded(EVENTS_MAX);
        let (questions, asked) = channel::bounded(QUESTIONS_MAX);
        // Nothing is ever sent: that the sender is dropped is the message.
        let (running, ended) = channel::bounded::<()>(1);
        let logger = self.logger.new(o!("name" => info.name.clone()));
        let ledger = self.ledger.clone();
        let session = Arc::new(Session::new(&self.config, info, ledger, events, ended, logger));
        let control = runtime::spawn(control::run(client, asked, session.clone()));
        let (deliveries, delivered) = channel::bounded(DELIVERIES_MAX);
        let publications = runtime::spawn(publications::run(session.clone(), delivered));
        self.peers.begin(&session);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());

        let channels = HubChannels { events: heard, questions, deliveries, stop: self.stop.clone() };
        let end = hub::run(session, channels, self.random.u64(..)).await;

        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        drop(running);
        control.cancel().await;
        publications.cancel().await;
        for dialling in self.peers.end() {
            dialling.await;
        }
        end
    }
}
