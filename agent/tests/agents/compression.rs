//! Links whose messages are compressed.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent::config::Compression;
use shared::link::Codec;

use crate::fake_node::FakeNode;
use crate::harness::RunningAgent;

const SETTINGS: [Option<Codec>; 3] = [None, Some(Codec::Lz4), Some(Codec::Zstd)];

fn name(setting: Option<Codec>) -> &'static str {
    setting.map_or("none", Codec::name)
}

/// Two agents that compress as they are told, of which the first dials the second through `way`.
fn pair(settings: [Option<Codec>; 2], way: impl FnOnce(&str) -> String) -> [(FakeNode, RunningAgent); 2] {
    let (a, b) = (FakeNode::start("a", 1), FakeNode::start("b", 2));
    let [a_setting, b_setting] = settings.map(Compression);
    let agent_b = RunningAgent::start_with(&b, &[], |config| config.compress = b_setting);
    let url = way(&agent_b.url);
    let agent_a = RunningAgent::start_with(&a, &[&url], |config| config.compress = a_setting);
    a.wait_for_links(1);
    b.wait_for_links(1);
    [(a, agent_a), (b, agent_b)]
}

/// Waits until the node's only link has sent less, or more, than its batches have bytes.
#[track_caller]
fn wait_for_wire(node: &FakeNode, setting: Option<Codec>) {
    node.wait_until("the bytes on the wire counted", |state| {
        let link = &state.report.links[0];
        let (payload, wire) = (link.payload_bytes_out, link.wire_bytes_out);
        let is_as_set = if setting.is_some() { wire < payload / 4 } else { wire > payload };
        payload > 0 && is_as_set && link.compression == name(setting)
    });
}

#[test]
fn each_side_compresses_what_it_sends_as_it_was_told() {
    for settings in SETTINGS.into_iter().flat_map(|a| SETTINGS.map(|b| [a, b])) {
        let [(a, _agent_a), (b, _agent_b)] = pair(settings, str::to_owned);
        for _ in 0..200 {
            a.write(20, 100);
            b.write(20, 100);
        }
        // Longer than a chunk.
        a.write(1, 3 << 20);
        b.write(1, 3 << 20);
        b.wait_for(&a.frontier());
        a.wait_for(&b.frontier());
        for node in [&a, &b] {
            assert_eq!(node.applied_and_duplicates(), (201, 0), "{settings:?}");
        }
        let (a_log, b_log) = (a.state().log.clone(), b.state().log.clone());
        assert_eq!(a_log, b_log, "{settings:?}");
        wait_for_wire(&a, settings[0]);
        wait_for_wire(&b, settings[1]);
    }
}

#[test]
fn what_the_nodes_ask_each_other_is_compressed_too() {
    let [(a, _agent_a), (b, _agent_b)] = pair([None, Some(Codec::Zstd)], str::to_owned);
    b.state().answer = Ok(vec![b'x'; 5 << 20]);
    a.state().questions.push(b"what do you hold?".to_vec());
    a.wait_until("the answer", |state| !state.answers.is_empty());
    assert_eq!(a.state().answers[0].1, Ok(vec![b'x'; 5 << 20]));
    b.wait_until("the bytes counted", |state| {
        let sent = state.report.links[0].wire_bytes_out;
        sent > 0 && sent < 1 << 20
    });
}

/// A way on which one byte is changed, the one after so many, of what goes forward.
struct Fault {
    after: AtomicU64,
}

impl Fault {
    /// Starts the way to `target`, and returns where it begins. Nothing is changed yet.
    fn way(self: &Arc<Self>, target: SocketAddr) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let fault = Arc::clone(self);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(target) else { return };
                let (near_again, far_again) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let fault = Arc::clone(&fault);
                std::thread::spawn(move || carry(near, far, |bytes| fault.change(bytes)));
                std::thread::spawn(move || carry(far_again, near_again, |_| {}));
            }
        });
        url
    }

    fn change(&self, bytes: &mut [u8]) {
        let length = bytes.len() as u64;
        let is_counting =
            |left: u64| (left != u64::MAX).then(|| left.checked_sub(length).unwrap_or(u64::MAX));
        if let Ok(left) = self.after.fetch_update(Ordering::AcqRel, Ordering::Acquire, is_counting)
            && left < length
        {
            bytes[left as usize] ^= 0x10;
        }
    }
}

fn carry(mut source: TcpStream, mut target: TcpStream, mut change: impl FnMut(&mut [u8])) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = source.read(&mut buffer) {
        change(&mut buffer[..length]);
        if target.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = (source.shutdown(Shutdown::Both), target.shutdown(Shutdown::Both));
}

/// A codec's stream cannot be taken up again where it was damaged: the link ends, and a new one begins a new stream.
#[test]
fn a_damaged_stream_ends_the_link_which_then_resumes() {
    for setting in [Codec::Lz4, Codec::Zstd] {
        let fault = Arc::new(Fault { after: AtomicU64::new(u64::MAX) });
        let way = |url: &str| fault.way(url.strip_prefix("ws://").unwrap().parse().unwrap());
        let [(a, _agent_a), (b, agent_b)] = pair([Some(setting), None], way);
        a.write(100, 100);
        b.wait_for(&a.frontier());
        // Within a message that takes many: most bytes of it are the codec's.
        fault.after.store(5_000, Ordering::Release);
        for seed in 0..20 {
            a.write_noise(100_000, seed);
        }
        b.wait_for(&a.frontier());
        assert_eq!(fault.after.load(Ordering::Acquire), u64::MAX, "a byte was changed");
        agent_b.wait_for_log(&["link is refused", "\"by peer\":false"]);
        let (a_log, b_log) = (a.state().log.clone(), b.state().log.clone());
        assert_eq!(a_log, b_log);
    }
}
