//! What both sides of a Tandem wire must agree on.
//!
//! This crate computes only: no socket, no file, no clock, no randomness, no logging. Read it in this order:
//!
//! - [`time`] and [`id`]: the units.
//! - [`clock`]: the hybrid logical clock, which gives every write its timestamp.
//! - [`version`]: versions, which decide conflicts, and frontiers, which say what a node has.
//! - [`decimal`]: what HINCRBYFLOAT adds up.
//! - [`change`] and [`batch`]: what logs, feeds and links carry.
//! - [`state`]: what snapshots and comparing nodes carry: keys as they stand.
//! - [`announcement`]: what members tell each other.
//! - [`resp`]: the protocol of Redis's clients, and of the feed.
//! - [`feed`]: what node and agent say to each other.
//! - [`link`]: the protocol between agents, as a state machine.
//! - [`conversation`]: what nodes ask each other through it.

pub mod time;

pub mod id;

pub mod clock;

pub mod version;

pub mod decimal;

pub mod change;

pub mod batch;

pub mod state;

pub mod announcement;

pub mod resp;

pub mod feed;

pub mod link;

pub mod publication;

pub mod conversation;
