//! The connection to the node for questions: one task asks, one question at a time.

use std::sync::Arc;
use std::time::Instant;

use async_std::channel::Receiver;
use shared::feed::PeersReport;

use crate::node_client::{NodeClient, NodeError};
use crate::session::{Event, Session};

/// What the hub wants of the node.
#[derive(Debug)]
pub(crate) enum Question {
    /// All about itself.
    Info,
    /// What it holds; and this is how its links are.
    Report(Box<PeersReport>),
}

/// Asks until the hub is gone or the node is lost, and tells the hub the answers.
pub(crate) async fn run(mut client: NodeClient, questions: Receiver<Question>, session: Arc<Session>) {
    while let Ok(question) = questions.recv().await {
        let event = match ask(&mut client, question).await {
            Ok(event) => event,
            Err(error) => Event::NodeLost(error.to_string()),
        };
        let is_lost = matches!(event, Event::NodeLost(_));
        if session.events.send(event).await.is_err() || is_lost {
            return;
        }
    }
}

async fn ask(client: &mut NodeClient, question: Question) -> Result<Event, NodeError> {
    match question {
        Question::Info => {
            let asked_at = Instant::now();
            let info = client.info().await?;
            Ok(Event::Informed(Box::new(info), asked_at.elapsed()))
        }
        Question::Report(report) => {
            let report = rmp_serde::to_vec(&report).expect("a report has no part that MessagePack lacks");
            Ok(Event::Reported(client.peers(&report).await?))
        }
    }
}
