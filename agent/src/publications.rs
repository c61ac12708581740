//! Messages of PUBLISH between the node and the hub.
//!
//! Two connections to the node: one tells what its clients publish, the other is told what those of other masters have.
//! Messages are stored nowhere: while a connection is being made again, or the hub has more to do than it can, they are dropped
//! and counted.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_std::channel::{Receiver, TrySendError};
use async_std::task;
use futures_util::future::join;
use shared::publication::Publication;
use slog::debug;

use crate::node_client::{NodeClient, NodeError};
use crate::session::{EVENTS_MAX, Event, Session};

/// So many messages may wait for the node; of more the newest are dropped.
pub(crate) const DELIVERIES_MAX: usize = 1_024;

/// So many messages are handed to the node at once.
const DELIVERED_AT_ONCE: usize = 128;

/// A lost connection is made again after this.
const RETRY: Duration = Duration::from_secs(1);

/// Passes messages on, both ways, until it is cancelled.
pub(crate) async fn run(session: Arc<Session>, deliveries: Receiver<Arc<Publication>>) {
    let hearing = async {
        loop {
            let Err(error) = hear(&session).await;
            debug!(session.logger, "messages are not heard from the node for a moment"; "error" => %error);
            task::sleep(RETRY).await;
        }
    };
    let delivering = async {
        while !deliveries.is_closed() {
            if let Err(error) = deliver(&session, &deliveries).await {
                debug!(session.logger, "messages are not handed to the node for a moment"; "error" => %error);
                task::sleep(RETRY).await;
            }
        }
    };
    join(hearing, delivering).await;
}

/// Hears what the node's clients publish.
async fn hear(session: &Session) -> Result<Infallible, NodeError> {
    let mut client = NodeClient::connect(&session.node).await?;
    client.listen_to_messages().await?;
    let (author, run) = (session.info.node_id, session.info.origin);
    loop {
        let (number, channel, payload) = client.next_message().await?;
        let publication = Arc::new(Publication { author, run, number, channel, payload });
        session.pass_on(Event::Published(publication));
    }
}

/// Hands the node what was published elsewhere, until there is nobody to hand on anything.
async fn deliver(session: &Session, deliveries: &Receiver<Arc<Publication>>) -> Result<(), NodeError> {
    let mut client = NodeClient::connect(&session.node).await?;
    while let Ok(first) = deliveries.recv().await {
        let mut publications = vec![first];
        while publications.len() < DELIVERED_AT_ONCE
            && let Ok(next) = deliveries.try_recv()
        {
            publications.push(next);
        }
        client.deliver(&publications).await?;
    }
    Ok(())
}

impl Session {
    /// Tells the hub of a message; drops it, and counts that, if the hub has too much to do. What links have to say of data has
    /// the other half of the room.
    pub(crate) fn pass_on(&self, event: Event) {
        let has_room = self.events.len() < EVENTS_MAX / 2;
        if !has_room || matches!(self.events.try_send(event), Err(TrySendError::Full(_))) {
            self.count_dropped(1);
        }
    }
}
