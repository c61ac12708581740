//! The cable: a TCP proxy that can be cut, stalled, delayed and throttled, and that counts bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A proxy in front of one address.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    cable: Arc<Cable>,
}

#[derive(Debug, Default)]
struct Cable {
    cut: AtomicBool,
    stalled: AtomicBool,
    stopped: AtomicBool,
    delay_ms: AtomicU64,
    bytes_per_second: AtomicU64,
    /// Towards the address behind the proxy, and back.
    forward_bytes: AtomicU64,
    backward_bytes: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts a proxy in front of `target`.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let cable = Arc::new(Cable::default());
        let accepting = Arc::clone(&cable);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::Acquire) {
                    return;
                }
                accepting.connect(stream, target);
            }
        });
        Self { address, cable }
    }

    /// Where to dial.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where an agent is to dial.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Pulls the cable: connections break, new ones are refused.
    pub fn cut(&self) {
        self.cable.cut.store(true, Ordering::Release);
        self.cable.break_all();
    }

    /// Puts the cable back.
    pub fn heal(&self) {
        self.cable.cut.store(false, Ordering::Release);
    }

    /// Breaks the connections; new ones are taken.
    pub fn break_connections(&self) {
        self.cable.break_all();
    }

    /// Holds all bytes back, without breaking anything, or lets them go.
    pub fn set_stalled(&self, stalled: bool) {
        self.cable.stalled.store(stalled, Ordering::Release);
    }

    /// Delays every piece of data by so many milliseconds, in either direction.
    pub fn set_delay_ms(&self, delay_ms: u64) {
        self.cable.delay_ms.store(delay_ms, Ordering::Release);
    }

    /// Lets only so many bytes per second through, in either direction; 0 for no limit.
    pub fn set_bytes_per_second(&self, bytes: u64) {
        self.cable.bytes_per_second.store(bytes, Ordering::Release);
    }

    /// The bytes that went towards the address behind, and back.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.cable.forward_bytes.load(Ordering::Acquire), self.cable.backward_bytes.load(Ordering::Acquire))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cable.stopped.store(true, Ordering::Release);
        self.cable.cut.store(true, Ordering::Release);
        self.cable.break_all();
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

impl Cable {
    fn connect(self: &Arc<Self>, near: TcpStream, target: SocketAddr) {
        if self.cut.load(Ordering::Acquire) {
            return;
        }
        let Ok(far) = TcpStream::connect(target) else { return };
        let handles = (near.try_clone(), far.try_clone(), near.try_clone(), far.try_clone());
        let (Ok(near2), Ok(far2), Ok(near3), Ok(far3)) = handles else { return };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        self.streams.lock().expect("no holder panics").extend([near3, far3]);
        let (forward, backward) = (Arc::clone(self), Arc::clone(self));
        thread::spawn(move || forward.pump(near, far, |cable| &cable.forward_bytes));
        thread::spawn(move || backward.pump(far2, near2, |cable| &cable.backward_bytes));
        // A cut that came between the look and the entry in the list.
        if self.cut.load(Ordering::Acquire) {
            self.break_all();
        }
    }

    fn pump(&self, mut source: TcpStream, mut target: TcpStream, counter: impl Fn(&Self) -> &AtomicU64) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let piece = self.piece_bytes(buffer.len());
            let length = match source.read(&mut buffer[..piece]) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            self.hold_back(length);
            if self.cut.load(Ordering::Acquire) || target.write_all(&buffer[..length]).is_err() {
                break;
            }
            counter(self).fetch_add(length as u64, Ordering::AcqRel);
        }
        // Either end may be gone already.
        let _ = source.shutdown(Shutdown::Both);
        let _ = target.shutdown(Shutdown::Both);
    }

    /// How much is taken at once: where there is a limit, what it lets through in a moment, as a slow network does.
    fn piece_bytes(&self, bytes_max: usize) -> usize {
        match self.bytes_per_second.load(Ordering::Acquire) {
            0 => bytes_max,
            limit => ((limit / 50) as usize).clamp(1, bytes_max),
        }
    }

    fn hold_back(&self, length: usize) {
        while self.stalled.load(Ordering::Acquire) && !self.cut.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(5));
        }
        let delay_ms = self.delay_ms.load(Ordering::Acquire);
        let limit = self.bytes_per_second.load(Ordering::Acquire);
        let throttle_ms = (length as u64 * 1_000).checked_div(limit).unwrap_or(0);
        if delay_ms + throttle_ms > 0 {
            thread::sleep(Duration::from_millis(delay_ms + throttle_ms));
        }
    }

    fn break_all(&self) {
        for stream in self.streams.lock().expect("no holder panics").drain(..) {
            // Either end may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
