//! What must not be believed: garbage, giants, halves, forgeries and strangers. Each gets a clear error or a closed
//! connection; memory stays bounded; and the processes live, and replicate as before.

mod batches;

mod clients;

mod feed;

mod listener;

mod members;

mod nonsense;

mod requests;

mod websocket;

use std::net::{Ipv4Addr, SocketAddr};

use tests::group::{Group, Topology};
use tests::host::Host;
use tests::process::Process;
use tests::programs;

/// Two linked hosts; the first is the one that is treated badly.
struct Pair {
    group: Group,
}

impl Pair {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Starts them, the first host's settings changed.
    fn start_with(change: impl FnOnce(&mut Host)) -> Self {
        let mut group = Group::new(&programs!(), 2);
        group.connect(Topology::Mesh);
        change(&mut group[0]);
        group.start_all();
        Self { group }
    }

    /// The host that is treated badly.
    fn host(&self) -> &Host {
        &self.group[0]
    }

    /// The other one.
    fn other(&self) -> &Host {
        &self.group[1]
    }

    fn node(&self) -> &Process {
        self.host().node.as_ref().expect("it was started")
    }

    fn agent(&self) -> &Process {
        self.host().agent.as_ref().expect("it was started")
    }

    /// Where the node takes clients.
    fn address(&self) -> SocketAddr {
        node_address(self.host())
    }

    /// Every process still runs, and what each writes reaches the other.
    #[track_caller]
    fn check_alive(&mut self) {
        check_alive(&mut self.group);
    }
}

fn node_address(host: &Host) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, host.port()).into()
}

/// Every process of the group still runs, and what each writes reaches all.
#[track_caller]
fn check_alive(group: &mut Group) {
    for host in group.hosts_mut() {
        for process in [host.node.as_mut(), host.agent.as_mut()].into_iter().flatten() {
            assert!(process.is_running(), "a process has died: {}", process.output());
        }
    }
    group.wait_linked();
}

/// A process's memory at a moment.
#[derive(Clone, Copy)]
struct Memory {
    resident_bytes: usize,
    virtual_bytes: usize,
}

impl Memory {
    fn of(process: &Process) -> Self {
        Self { resident_bytes: process.resident_bytes(), virtual_bytes: process.virtual_bytes() }
    }

    /// The process has taken no more than so many bytes since, nor asked for much more.
    #[track_caller]
    fn check_grown(self, process: &Process, bytes_max: usize) {
        /// Allocators ask for address space in large pieces, and per thread.
        const ADDRESS_SPACE_MAX: usize = 8 << 30;
        let now = Self::of(process);
        let grown = now.resident_bytes.saturating_sub(self.resident_bytes);
        assert!(grown <= bytes_max, "memory has grown by {grown} bytes, more than {bytes_max}");
        let grown = now.virtual_bytes.saturating_sub(self.virtual_bytes);
        assert!(grown <= ADDRESS_SPACE_MAX, "address space has grown by {grown} bytes");
    }
}
