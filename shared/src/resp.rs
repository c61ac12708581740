//! The protocol of Redis's clients: RESP2 and RESP3.
//!
//! Codecs only: bytes in, bytes out, no I/O. What a peer sends is hostile until decoded, so every length is checked
//! before it is believed, nothing is reserved for what was merely announced, and nesting is bounded.
//!
//! ```text
//! client  --- encode_request --->  RequestDecoder  node
//!         <--- ReplyDecoder ----   ReplyWriter
//! ```
//!
//! - [`request`]: the node's side of requests, multibulk and inline.
//! - [`reply`]: the node's side of replies, in the protocol that its client chose.
//! - [`value`]: the client's side of both, as the agent uses it.

pub mod request;

mod inline;

pub mod reply;

mod double;

pub mod value;

mod integer;

#[cfg(test)]
mod tests;

pub use double::{append_double, format_double};
pub use reply::{Protocol, ReplyWriter};
pub use request::{RequestDecoder, RequestError, RequestLimits, glance};
pub use value::{ReplyDecoder, ReplyError, Value, encode_request};
