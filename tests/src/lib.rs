//! The harness for tests on real processes.
//!
//! - [`process`]: a node or agent as a child process, with its log.
//! - [`host`]: a host: a node, its agent, and the proxies in front of them.
//! - [`group`]: hosts in a topology.
//! - [`proxy`]: the cable, which can be cut, throttled and counted.
//! - [`compare`]: are all nodes equal, key by key?
//! - [`wait`]: waiting for conditions, never for time.

pub mod wait;

pub mod process;

pub mod proxy;

pub mod host;

pub mod group;

pub mod compare;
