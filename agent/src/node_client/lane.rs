//! A lane's connection to the node, made when the lane is opened.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{NodeAddress, NodeStream};

/// The connection of a lane, which the lane's owner polls.
pub(super) enum LaneStream {
    Closed,
    Connecting(Pin<Box<dyn Future<Output = io::Result<NodeStream>> + Send>>),
    Open(NodeStream),
}

impl LaneStream {
    /// Begins to connect, unless it has.
    pub(super) fn open(&mut self, address: &NodeAddress) {
        if matches!(self, Self::Closed) {
            let address = address.clone();
            *self = Self::Connecting(Box::pin(async move { NodeStream::connect(&address).await }));
        }
    }

    /// The connection, once there is one. A closed lane has none to wait for.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut NodeStream>> {
        if let Self::Connecting(connecting) = self {
            *self = Self::Open(ready!(connecting.as_mut().poll(cx))?);
        }
        match self {
            Self::Open(stream) => Poll::Ready(Ok(stream)),
            Self::Closed | Self::Connecting(_) => Poll::Pending,
        }
    }
}
