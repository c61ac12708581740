//! A link's way to the hub.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_std::channel::{Sender, TrySendError};

use crate::session::Event;

/// Events on their way to the hub. While they wait there, the link takes in nothing that could make more of them.
pub(super) struct Outlet {
    events: Sender<Event>,
    queue: VecDeque<Event>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Outlet {
    pub(super) fn new(events: Sender<Event>) -> Self {
        Self { events, queue: VecDeque::new(), waiting: None }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    pub(super) fn is_clear(&self) -> bool {
        self.waiting.is_none()
    }

    /// Hands over what the hub takes; says whether that was all. A hub that is gone takes everything.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            if let Some(waiting) = &mut self.waiting {
                if waiting.as_mut().poll(cx) == Poll::Pending {
                    return false;
                }
                self.waiting = None;
            }
            let Some(event) = self.queue.pop_front() else { return true };
            if let Err(TrySendError::Full(event)) = self.events.try_send(event) {
                let events = self.events.clone();
                self.waiting = Some(Box::pin(async move {
                    let _ = events.send(event).await;
                }));
            }
        }
    }
}
