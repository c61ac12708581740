//! The harness for tests on real processes.
//!
//! - [`process`]: a node or agent as a child process, with its log.
//! - [`host`]: a host: a node, its agent, and the proxies in front of them.
//! - [`group`]: hosts in a topology.
//! - [`proxy`]: the cable, which can be cut, throttled and counted.
//! - [`clock`]: a wall clock that the test sets.
//! - [`clerk`]: a client that remembers what was acknowledged to it.
//! - [`chaos`]: every fault at random, under load by clerks.
//! - [`load`]: clients that write, at the same moment or in the background.
//! - [`mix`]: random commands.
//! - [`feed`]: what nodes stream.
//! - [`raw`]: a connection without a protocol.
//! - [`segment`]: damage to a node's log.
//! - [`disk`]: a disk without room.
//! - [`operator`]: a person who asks an agent.
//! - [`compare`]: are all nodes equal, key by key?
//! - [`wait`]: waiting for conditions, never for time.

pub mod wait;

pub mod process;

pub mod proxy;

pub mod host;

pub mod group;

pub mod clock;

pub mod clerk;

pub mod chaos;

pub mod load;

pub mod mix;

pub mod feed;

pub mod raw;

pub mod segment;

pub mod disk;

pub mod operator;

pub mod compare;
