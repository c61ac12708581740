//! Keeps a link to a configured peer.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_std::channel::{self, Receiver};
use async_std::net::TcpStream;
use async_tungstenite::tungstenite::Error as SocketError;
use futures_util::future::{Either, select};
use shared::id::NodeId;
use shared::link::Reason;
use slog::{Logger, debug, o, warn};

use crate::backoff::Backoff;
use crate::driver::{self, Ended, Ending};
use crate::node_client::has_port;
use crate::record::Record;
use crate::runtime;
use crate::session::{Event, LinkStart, Session};
use crate::socket::{self, Metered, PATH, Socket};

/// A link that was up for this long was a good one: the next is dialled without much delay.
const GOOD_LINK: Duration = Duration::from_secs(5);

/// A peer that does not answer a dial for this long is given up until the next.
const DIAL_TIME_MAX: Duration = Duration::from_secs(5);

/// That a peer cannot be reached is no news while hosts are starting.
const WARNING_AFTER: Duration = Duration::from_secs(2);

/// That a peer cannot be reached is warned of again after this.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Where a peer's agent listens: `ws://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress(String);

/// Text that is no peer's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a peer's address (ws://HOST:PORT): {0:?}")]
pub struct PeerSyntax(pub String);

impl FromStr for PeerAddress {
    type Err = PeerSyntax;

    fn from_str(text: &str) -> Result<Self, PeerSyntax> {
        let address = text.strip_prefix("ws://").map(|rest| rest.trim_end_matches('/'));
        match address.map(|address| address.strip_suffix(PATH).unwrap_or(address)) {
            Some(address) if has_port(address) && !address.contains('/') => Ok(Self(address.to_owned())),
            _ => Err(PeerSyntax(text.to_owned())),
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}", self.0)
    }
}

/// Why a peer was not reached. It is dialled again.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("no agent answers there: {0}")]
    Upgrade(#[from] Box<SocketError>),
    #[error("no answer within {} s", DIAL_TIME_MAX.as_secs())]
    Silent,
}

/// Dials the peer, runs the link, and dials again, until the session ends or `removed` is closed.
pub(crate) async fn run(
    peer: PeerAddress,
    record: Arc<Record>,
    session: Arc<Session>,
    removed: Receiver<()>,
    random: fastrand::Rng,
) {
    let logger = session.logger.new(o!("address" => peer.to_string()));
    let (mut backoff, mut warnings) = (Backoff::new(random), Warnings::default());
    let mut known = None;
    loop {
        debug!(logger, "dialling");
        match or_over(&session, &removed, connect(&peer)).await {
            None => return,
            Some(Ok(socket)) => {
                warnings = Warnings::default();
                let (dialled, removed) = (Some(record.clone()), Some(removed.clone()));
                let start = LinkStart { address: peer.to_string(), dialled, removed };
                // It ends by itself with either, and says goodbye.
                let ended = driver::run(socket, start, session.clone()).await;
                after_link(&ended, &mut backoff);
                known = ended.peer.map(|peer| peer.node_id).or(known);
            }
            Some(Err(error)) => {
                record.on_down(error.to_string());
                warnings.warn(&logger, &error);
            }
        }
        let waiting = until_needed(known, &record, &mut backoff, &session);
        if or_over(&session, &removed, waiting).await.is_none() {
            return;
        }
    }
}

/// Waits until it is time to dial: after a while, and when no link is left to the peer that was there last. It may have
/// dialled, and of two links one would be ended with what is in flight.
async fn until_needed(known: Option<NodeId>, record: &Record, backoff: &mut Backoff, session: &Session) {
    loop {
        async_std::task::sleep(backoff.next()).await;
        let Some(peer) = known else { return };
        let (sender, unlinked) = channel::bounded(1);
        let _ = session.events.send(Event::AwaitUnlinked(peer, sender)).await;
        let asked_at = Instant::now();
        record.set_spare(true);
        let _ = unlinked.recv().await;
        record.set_spare(false);
        if asked_at.elapsed() < GOOD_LINK {
            return;
        }
        backoff.reset();
    }
}

/// What comes of the future, if it comes before the session ends or the peer is removed.
async fn or_over<T>(session: &Session, removed: &Receiver<()>, future: impl Future<Output = T>) -> Option<T> {
    let (ended, removed) = (std::pin::pin!(session.ended.recv()), std::pin::pin!(removed.recv()));
    match select(std::pin::pin!(future), select(ended, removed)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

async fn connect(peer: &PeerAddress) -> Result<Socket, DialError> {
    let connecting = async {
        let stream = TcpStream::connect(&runtime::resolve(&peer.0).await?[..]).await?;
        stream.set_nodelay(true)?;
        let url = format!("{peer}{PATH}");
        let upgrading =
            async_tungstenite::client_async_with_config(url, Metered::new(stream), Some(socket::config()));
        let (socket, _) = upgrading.await.map_err(Box::new)?;
        Ok(socket)
    };
    async_std::future::timeout(DIAL_TIME_MAX, connecting).await.map_err(|_| DialError::Silent)?
}

/// What the end of a link means for the next.
fn after_link(ended: &Ended, backoff: &mut Backoff) {
    if ended.up_for >= GOOD_LINK {
        backoff.reset();
    }
    let Ending::Goodbye { goodbye, .. } = &ended.ending else { return };
    match goodbye.reason {
        Reason::Leaving | Reason::Silent | Reason::Duplicate | Reason::Removed | Reason::Other => {}
        _ => backoff.slow_down(),
    }
}

/// Warns of a peer that cannot be reached for a while, and then seldom.
#[derive(Debug, Default)]
struct Warnings {
    since: Option<Instant>,
    newest: Option<Instant>,
}

impl Warnings {
    fn warn(&mut self, logger: &Logger, error: &DialError) {
        let is_lasting = self.since.get_or_insert_with(Instant::now).elapsed() >= WARNING_AFTER;
        if is_lasting && self.newest.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            self.newest = Some(Instant::now());
            warn!(logger, "cannot reach the peer, trying again every few seconds"; "error" => %error);
        } else {
            debug!(logger, "cannot reach the peer"; "error" => %error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_addresses_of_web_sockets() {
        for good in ["ws://host:7101", "ws://host:7101/", "ws://host:7101/link"] {
            assert_eq!(good.parse::<PeerAddress>().unwrap().to_string(), "ws://host:7101");
        }
        assert_eq!("ws://[::1]:7101".parse::<PeerAddress>().unwrap().to_string(), "ws://[::1]:7101");
        for wrong in
            ["", "host:7101", "http://host:7101", "ws://host", "ws://host:7101/other", "wss://host:1"]
        {
            assert!(wrong.parse::<PeerAddress>().is_err(), "{wrong:?}");
        }
    }
}
