//! Whole agents over real sockets, each with a node that is kept in memory by the test.

mod fake_node;

mod harness;

mod links;

mod refusals;

mod topologies;
