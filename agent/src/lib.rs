//! `tandem-agent`: links a `tandem-node` with those of its peers, and nothing more.
//!
//! All that is durable lives in the node. The agent may be killed, replaced, or told other peers at any moment: it asks
//! its node what that holds, and its peers for what is missing.
//!
//! Read it in this order:
//!
//! - `router`: which origin is pulled from which peer. Pure, like `members`: who has which name, and `conversation`: what
//!   two nodes ask each other, turn by turn.
//! - `hub`: the one task that knows all links, and its decisions, `hub::core`, which are pure; `control` asks the node for
//!   it.
//! - `session`: what the tasks share, and what they say to each other.
//! - `driver`: the task of one link, which carries the batches. What two agents say to each other is [`shared::link`];
//!   `compression` makes it small.
//! - `peers`, `dial`, `accept` and `socket`: where links come from.
//! - `node_client`: RESP to the node, as [`shared::feed`] has it.
//! - `run`: an agent's life, from contact to contact with its node.
//! - `operator`: what operators ask of a running agent, and both sides of that.
//! - `config`, `cli`, `logging`, `tail`: the program.
//!
//! ```text
//!         questions                events            batches
//! node <------------- control <--- hub <--- driver(s) <-----> peers
//!   ^                              |  commands  ^  |
//!   |                              +------------+  |
//!   +----------------------------------------------+  FEED FOLLOW, FEED APPLY, FEED CONVERSE, FEED ANSWER
//! ```

pub mod router;

mod members;

#[cfg_attr(not(feature = "simulation"), expect(unreachable_pub, reason = "public to the simulator"))]
mod conversation;

#[cfg_attr(not(feature = "simulation"), expect(unreachable_pub, reason = "public to the simulator"))]
mod hub;

mod session;

mod control;

mod publications;

mod compression;

mod driver;

mod dial;

pub mod peers;

mod accept;

mod socket;

mod node_client;

mod record;

#[cfg_attr(not(feature = "simulation"), expect(unreachable_pub, reason = "public to the simulator"))]
mod backoff;

mod operator;

mod descriptors;

pub mod run;

pub mod config;

pub mod runtime;

mod logging;

mod tail;

mod cli;

#[cfg(feature = "simulation")]
pub mod simulation;

pub use cli::main;
pub use config::Config;
pub use dial::{PeerAddress, PeerSyntax};
pub use node_client::{AddressSyntax, NodeAddress};
pub use run::{Agent, BindError};
