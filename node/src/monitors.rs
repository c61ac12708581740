//! Who is shown what all clients do: MONITOR.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::client::Address;
use crate::pubsub::{Delivered, Listener, Post};
use crate::stopwatch::Call;

/// The clients that are shown what all do. Bounded by `--max-clients`, and what is on its way to each as a subscriber's messages.
#[derive(Default)]
pub(crate) struct Monitors {
    listeners: Mutex<Vec<Arc<Listener>>>,
    is_any: AtomicBool,
}

impl Monitors {
    pub(crate) fn add(&self, listener: &Arc<Listener>) {
        self.listeners.lock().push(Arc::clone(listener));
        self.is_any.store(true, Ordering::Release);
    }

    pub(crate) fn remove(&self, listener: &Arc<Listener>) {
        let listeners = &mut *self.listeners.lock();
        listeners.retain(|other| !Arc::ptr_eq(other, listener));
        self.is_any.store(!listeners.is_empty(), Ordering::Release);
    }

    /// Whether there are any: where there are none, a command costs no lock.
    pub(crate) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    /// Shows a command that was carried out in this database. Those that administer the node are not shown, as they may tell secrets.
    pub(crate) fn show(&self, call: &Call<'_>, db: u8, post: &impl Post) {
        if call.row.has_flag("admin") || call.row.has_flag("skip_monitor") {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let moment = (now.as_secs(), now.subsec_micros());
        let line = line(moment, db, &call.client.address, &call.shown());
        for listener in &*self.listeners.lock() {
            match listener.deliver(line.as_bytes(), post) {
                Delivered::First => post.has_mail(&listener.record),
                Delivered::Behind => {}
                Delivered::Overflowing => post.close(&listener.record),
            }
        }
    }
}

/// As Redis writes it: `+1339518083.107412 [0 127.0.0.1:60866] "get" "x"`.
fn line((seconds, micros): (u64, u32), db: u8, address: &Address, arguments: &[&[u8]]) -> String {
    let mut line = format!("+{seconds}.{micros:06} [{db} ");
    // Writing to a string does not fail; the same below.
    let _ = match address {
        Address::Tcp { remote, .. } => write!(line, "{remote}]"),
        Address::Unix { path } => write!(line, "unix:{path}]"),
    };
    for argument in arguments {
        line.push_str(" \"");
        argument.iter().for_each(|byte| push_quoted(&mut line, *byte));
        line.push('"');
    }
    line.push_str("\r\n");
    line
}

/// A byte as it stands between quotes: so that a line is one line, and text.
fn push_quoted(line: &mut String, byte: u8) {
    match byte {
        b'\\' | b'"' => line.extend(['\\', char::from(byte)]),
        b'\n' => line.push_str("\\n"),
        b'\r' => line.push_str("\\r"),
        b'\t' => line.push_str("\\t"),
        7 => line.push_str("\\a"),
        8 => line.push_str("\\b"),
        b' '..=b'~' => line.push(char::from(byte)),
        _ => _ = write!(line, "\\x{byte:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_by_redis() {
        let remote = "127.0.0.1:60866".parse().unwrap();
        let address = Address::Tcp { remote, local: remote };
        let arguments: [&[u8]; 2] = [b"set", b"a\"\\\r\n\t\x07\x08 \x00\xff"];
        assert_eq!(
            line((1_339_518_083, 107), 9, &address, &arguments),
            "+1339518083.000107 [9 127.0.0.1:60866] \"set\" \"a\\\"\\\\\\r\\n\\t\\a\\b \\x00\\xff\"\r\n"
        );
        let unix = Address::Unix { path: "/run/node".to_owned() };
        assert_eq!(line((1, 2), 0, &unix, &[b"ping"]), "+1.000002 [0 unix:/run/node] \"ping\"\r\n");
    }
}
