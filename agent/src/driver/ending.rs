//! How a link ends.

use std::sync::PoisonError;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Message as SocketMessage;
use futures_util::StreamExt;
use shared::announcement::Member;
use shared::link::{Applied, Goodbye, Input, Reason};
use slog::{Logger, debug, error, info, o, warn};

use super::Driver;
use crate::session::Event;

/// How long a closed link waits for its last words to go out, for the peer to close, and for the node's answers.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(1);

/// How a link ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) ending: Ending,
    /// The peer, if it said who it is.
    pub(crate) peer: Option<Member>,
    /// How long the link was up.
    pub(crate) up_for: Duration,
}

/// Why a link ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// One side said why.
    Goodbye { goodbye: Goodbye, by_peer: bool },
    /// The connection broke.
    Broken(String),
    /// The node is gone.
    NodeLost(String),
}

impl Ending {
    /// Whether the peer said that it, or its node, goes away.
    fn is_leaving(&self) -> bool {
        matches!(self, Self::Goodbye { goodbye, by_peer: true } if goodbye.reason == Reason::Leaving)
    }

    /// Whether the other side is gone without a word: there is nobody to talk to.
    fn is_silence(&self) -> bool {
        matches!(self, Self::Goodbye { goodbye, .. } if goodbye.reason == Reason::Silent)
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Goodbye { goodbye, .. } => &goodbye.text,
            Self::Broken(text) | Self::NodeLost(text) => text,
        }
    }
}

impl Driver {
    /// Says the last words, waits for the node's answers to what it was given, and tells the hub.
    pub(super) async fn finish(mut self, ending: Ending) -> Ended {
        let up_for = self.up_at.map_or(Duration::ZERO, |at| at.elapsed());
        self.log(&ending, up_for);
        self.count_wire();
        if self.up_at.is_some() || self.start.dialled.is_some() {
            self.record.on_down(ending.text());
        }
        if let Ending::NodeLost(_) = &ending {
            let text = "the agent's node went away; the link resumes by itself";
            let goodbye = Goodbye::new(Reason::Leaving, text);
            self.link.handle(Input::Leave(goodbye), self.session.clocks().now());
        }
        if !ending.is_silence() && !matches!(ending, Ending::Broken(_)) {
            let _ = async_std::future::timeout(CLOSING_TIME_MAX, self.say_goodbye()).await;
        }
        if !matches!(ending, Ending::NodeLost(_)) {
            let _ = async_std::future::timeout(CLOSING_TIME_MAX, self.settle()).await;
        }
        let now = self.session.clocks().now();
        self.progress.hurry();
        self.progress.post(&self.link, &self.apply, now.mono(), |event| {
            self.outlet.push(Event::Link(self.id, event));
        });
        self.outlet.push(Event::Closed { link: self.id, has_left: ending.is_leaving() });
        if let Ending::NodeLost(text) = &ending {
            self.outlet.push(Event::NodeLost(text.clone()));
        }
        std::future::poll_fn(|cx| if self.outlet.poll(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        Ended { ending, peer: self.link.peer().cloned(), up_for }
    }

    async fn say_goodbye(&mut self) {
        while let Some(message) = self.link.poll_message(self.session.clocks().now()) {
            if self.socket.send(SocketMessage::binary(message)).await.is_err() {
                return;
            }
        }
        // Read on until the peer has closed, too: closing with bytes unread could take the last words back.
        if self.socket.close(None).await.is_ok() {
            while let Some(Ok(_)) = self.socket.next().await {}
        }
    }

    async fn settle(&mut self) {
        while !self.apply.is_idle() {
            let now = self.session.clocks().now();
            let applied = std::future::poll_fn(|cx| self.apply.poll_applied(cx, now.mono())).await;
            match applied {
                Ok(Applied { origin, result: Ok(held), .. }) => {
                    self.progress.on_applied(origin, held, now.mono())
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn log(&self, ending: &Ending, up_for: Duration) {
        let logger = self.logger.new(o!("up s" => up_for.as_secs()));
        let (goodbye, by_peer) = match ending {
            Ending::NodeLost(text) => return info!(logger, "link ends with the node"; "error" => text),
            Ending::Broken(text) if self.up_at.is_some() => {
                return warn!(logger, "link is lost, dialling again"; "error" => text);
            }
            Ending::Broken(text) => {
                return info!(logger, "connection ends before it became a link"; "error" => text);
            }
            Ending::Goodbye { goodbye, by_peer } => (goodbye, *by_peer),
        };
        match goodbye.reason {
            Reason::Leaving | Reason::Removed => {
                info!(logger, "link ends"; "reason" => &goodbye.text, "by peer" => by_peer)
            }
            Reason::Duplicate => debug!(logger, "link ends"; "reason" => &goodbye.text, "by peer" => by_peer),
            Reason::Silent => warn!(logger, "link is lost, dialling again"; "error" => &goodbye.text),
            reason => self.complain(&logger, reason, goodbye, by_peer),
        }
    }

    fn complain(&self, logger: &Logger, reason: Reason, goodbye: &Goodbye, by_peer: bool) {
        let host = self.start.address.rsplit_once(':').map_or("", |(host, _)| host);
        let peer = self.link.peer().map_or(host, |peer| peer.name.as_str());
        let mut complaints = self.session.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if complaints.is_due(peer, reason, Instant::now()) {
            error!(logger, "link is refused, trying again every few seconds"; "error" => &goodbye.text, "by peer" => by_peer);
        } else {
            debug!(logger, "link is refused again"; "error" => &goodbye.text, "by peer" => by_peer);
        }
    }
}
