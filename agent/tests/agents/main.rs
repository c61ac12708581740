//! Whole agents over real sockets, each with a node that is kept in memory by the test.

#![expect(clippy::unwrap_used, reason = "a test may panic, outside of its functions too")]

mod compression;

mod conversations;

mod fake_node;

mod harness;

mod links;

mod operators;

mod refusals;

mod topologies;
