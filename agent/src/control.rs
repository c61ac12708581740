//! The connection to the node for questions: one task asks, one question at a time.

use std::sync::Arc;
use std::time::Instant;

use crate::hub::Question;
use crate::node_client::{NodeClient, NodeError};
use crate::session::{Event, Session};
use async_std::channel::Receiver;

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
            Ok(Event::Reported(Box::new(client.peers(&report).await?)))
        }
        Question::Hear(clock) => match client.hear(clock).await {
            Ok(()) => Ok(Event::ClockHeard(Ok(()))),
            Err(NodeError::Refused(_, text)) => Ok(Event::ClockHeard(Err(text))),
            Err(error) => Err(error),
        },
    }
}
