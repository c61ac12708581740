//! The hub: one task that knows all links, the members and the router, and talks to the node about them.
//!
//! It hears [`Event`]s and sends [`Command`]s, and waits for nobody: a link that does not take its commands is ended.
//! What it does is decided by [`Core`]; here is what touches channels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_std::channel::{Receiver, Sender, TrySendError};
use futures_util::future::{Either, select};
use shared::id::NodeId;
use shared::publication::Publication;
use shared::time::MonoMillis;
use slog::{debug, info, warn};

use crate::router::LinkId;
use crate::session::{Event, LinkHandle, Session};

mod core;

mod exchange;

mod listening;

pub use self::core::Core;
pub use exchange::{Command, Input, LinkEvent, NodePoint, Output, Question};

/// The hub waits no longer than this at a time.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Links have this long to say goodbye when the agent stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The agent is to stop.
    Stopped,
    /// The node is gone, for this reason.
    NodeLost(String),
    /// The node is there, and another than it was: links must greet anew. This is what it is now.
    NodeChanged(String),
}

/// What the hub hears and whom it asks.
pub(crate) struct HubChannels {
    pub(crate) events: Receiver<Event>,
    pub(crate) questions: Sender<Question>,
    pub(crate) deliveries: Sender<Arc<Publication>>,
    /// Closed when the agent is to stop.
    pub(crate) stop: Receiver<()>,
}

/// Runs the hub until the node is lost or the agent is to stop.
pub(crate) async fn run(session: Arc<Session>, channels: HubChannels, seed: u64) -> SessionEnd {
    let HubChannels { events, questions, deliveries, stop } = channels;
    let mut hub = Hub::new(session, questions, deliveries, seed);
    loop {
        if let Some(end) = hub.handle(Input::Tick) {
            return end;
        }
        let stopped = std::pin::pin!(stop.recv());
        let heard = std::pin::pin!(async_std::future::timeout(hub.wait(), events.recv()));
        match select(heard, stopped).await {
            Either::Left((Ok(Ok(event)), _)) => {
                if let Some(end) = hub.on_event(event) {
                    return end;
                }
            }
            // The deadline has passed. The session holds a sender, so the channel is open.
            Either::Left(_) => {}
            Either::Right(_) => {
                hub.stop(&events).await;
                return SessionEnd::Stopped;
            }
        }
    }
}

struct Hub {
    core: Core,
    session: Arc<Session>,
    questions: Sender<Question>,
    deliveries: Sender<Arc<Publication>>,
    links: BTreeMap<LinkId, LinkHandle>,
    unlinked: Vec<(NodeId, Sender<()>)>,
}

impl Hub {
    fn new(
        session: Arc<Session>,
        questions: Sender<Question>,
        deliveries: Sender<Arc<Publication>>,
        seed: u64,
    ) -> Self {
        let core = Core::new(session.info.clone(), seed);
        Self { core, session, questions, deliveries, links: BTreeMap::new(), unlinked: Vec::new() }
    }

    fn now(&self) -> MonoMillis {
        self.session.clocks().now().mono()
    }

    fn wait(&self) -> Duration {
        let deadline = self.core.deadline();
        deadline.map_or(WAIT_MAX, |at| Duration::from_millis(at.since(self.now())).min(WAIT_MAX))
    }

    /// Takes an event in; returns how the session ends, if it does.
    fn on_event(&mut self, event: Event) -> Option<SessionEnd> {
        let input = match event {
            Event::Greeted { link, handle, hello, dialled, is_related } => {
                self.links.insert(link, handle);
                Input::Greeted { link, hello, dialled, is_related }
            }
            Event::Link(link, event) => Input::Link(link, event),
            Event::Closed { link, has_left } => {
                self.links.remove(&link);
                Input::Closed { link, has_left }
            }
            Event::AwaitUnlinked(node_id, sender) => {
                self.unlinked.push((node_id, sender));
                Input::Tick
            }
            Event::ClockHeard(result) => Input::ClockHeard(result),
            Event::Reported(point) => {
                self.session.set_standing(&point);
                Input::Reported(point)
            }
            Event::Informed(info, took) => {
                self.session.clocks().on_node_wall(info.wall, took);
                Input::Informed(info)
            }
            Event::Published(publication) => Input::Published(publication),
            Event::NodeLost(error) => return Some(SessionEnd::NodeLost(error)),
        };
        self.handle(input)
    }

    fn handle(&mut self, input: Input) -> Option<SessionEnd> {
        self.core.handle(input, self.now());
        let end = self.carry_out();
        let core = &self.core;
        self.unlinked.retain(|(node_id, _)| core.is_linked(*node_id));
        end
    }

    fn carry_out(&mut self) -> Option<SessionEnd> {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Tell(link, command) => self.tell(link, command),
                Output::Ask(question) => self.ask(question),
                Output::Publish(link, publication) => self.publish(link, publication),
                Output::Deliver(publication) => self.deliver(publication),
                Output::End(end) => return Some(end),
            }
        }
        None
    }

    /// A link takes commands at any time: one whose channel is full is broken, and ends as its channel closes.
    fn tell(&self, link: LinkId, command: Command) {
        if let Command::Subscribe(..) | Command::Unsubscribe(_) = &command {
            debug!(self.session.logger, "routing"; "peer" => self.core.peer_name(link), "order" => ?command);
        }
        if let Some(handle) = self.links.get(&link)
            && handle.commands.try_send(command).is_err()
        {
            handle.commands.close();
        }
    }

    /// A link that has too many messages to pass on drops them: it is not broken.
    fn publish(&self, link: LinkId, publication: Arc<Publication>) {
        if let Some(handle) = self.links.get(&link)
            && let Err(TrySendError::Full(_)) = handle.publications.try_send(publication)
        {
            self.session.count_dropped(1);
        }
    }

    fn deliver(&self, publication: Arc<Publication>) {
        if let Err(TrySendError::Full(_)) = self.deliveries.try_send(publication) {
            self.session.count_dropped(1);
        }
    }

    fn ask(&self, mut question: Question) {
        if let Question::Report(report) = &mut question {
            report.messages_dropped = self.session.messages_dropped();
            report.links = self.session.ledger.lock().unwrap_or_else(PoisonError::into_inner).reports();
        }
        // Of each kind one is under way, and the channel has room for all.
        let _ = self.questions.try_send(question);
    }

    /// Has all links say goodbye.
    async fn stop(&mut self, events: &Receiver<Event>) {
        let mut left: BTreeSet<_> = self.core.links().collect();
        info!(self.session.logger, "stopping"; "links" => left.len());
        self.handle(Input::Stop);
        let leaving = async {
            while !left.is_empty()
                && let Ok(event) = events.recv().await
            {
                if let Event::Closed { link, .. } = event {
                    left.remove(&link);
                }
            }
        };
        if async_std::future::timeout(STOP_TIME_MAX, leaving).await.is_err() {
            warn!(self.session.logger, "some links did not end in time");
        }
    }
}
