//! What decides in an agent, for a simulator to drive without tasks and sockets.
//!
//! A simulated agent is a [`Core`], and a [`shared::link::Link`] and a [`Conversation`] for each link. What the real driver
//! does between them:
//!
//! - [`shared::link::Action::Greeted`] becomes [`Input::Greeted`]; other actions become the [`LinkEvent`] of their name.
//!   `Applied` and `PeerTruncated` stay with the driver; of `Applied` the core hears by [`LinkEvent::Progress`].
//! - A [`Command`] becomes the [`shared::link::Input`] of its name.
//! - `Asked`, `Answered`, and a turn's question go between the link and the node, as [`Conversation`] has it; after a call
//!   with an answer, and after each answer to the peer, the core hears [`LinkEvent::Talked`].
//! - Bytes are sent in this order: all that `poll_message` gives; then `poll_talk`, batches and `poll_publication` by turns.
//! - Messages of PUBLISH touch no data, and are not simulated: [`Output::Publish`] and [`Output::Deliver`] come to nothing.

pub use crate::backoff::Backoff;
pub use crate::conversation::{Answer, Conversation, Turn};
pub use crate::hub::{Command, Core, Input, LinkEvent, NodePoint, Output, Question, SessionEnd};
pub use crate::router::{LinkId, Order, Router};
