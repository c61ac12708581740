//! Replies, written in the protocol that the client chose with HELLO.

use memchr::memchr2;

use super::double::append_double;
use super::integer::{append_bulk, append_integer_line};

/// The protocol version that a connection speaks; every connection begins with the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Strings, integers, errors and arrays: what every client knows.
    #[default]
    Resp2,
    /// Adds maps, sets, doubles, booleans, pushes and one null.
    Resp3,
}

/// Appends replies to a connection's output buffer.
///
/// A type that the client's protocol lacks is written as what Redis sends in its place. An aggregate is its head, here
/// [`array`](Self::array) and the like, and then as many replies as the head announces; that they follow is for the
/// caller to see to.
///
/// ```
/// use shared::resp::{Protocol, ReplyWriter};
///
/// let mut out = Vec::new();
/// let mut reply = ReplyWriter::new(&mut out, Protocol::Resp3);
/// reply.map(1);
/// reply.bulk(b"proto");
/// reply.integer(3);
/// assert_eq!(out, b"%1\r\n$5\r\nproto\r\n:3\r\n");
/// ```
#[derive(Debug)]
pub struct ReplyWriter<'o> {
    out: &'o mut Vec<u8>,
    protocol: Protocol,
}

impl<'o> ReplyWriter<'o> {
    /// Writes behind what `out` already holds.
    pub fn new(out: &'o mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The protocol that replies are written in.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Writes what follows in another protocol: the reply to HELLO is in the one that it has chosen.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// The length of the output buffer: where the next reply begins.
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// Takes back what was written since `position`, so that something else can be said instead.
    pub fn rollback_to(&mut self, position: usize) {
        debug_assert!(position <= self.out.len());
        self.out.truncate(position);
    }

    /// The status `+OK`.
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A status of one line; line ends in it become blanks.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error of one line, its code first (`ERR no such key`); line ends in it become blanks.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text.as_bytes());
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        append_integer_line(b':', value, self.out);
    }

    /// A string of any bytes.
    pub fn bulk(&mut self, bytes: &[u8]) {
        append_bulk(b'$', bytes, self.out);
    }

    /// An integer's decimal text as a bulk.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// No value, where one could be: RESP2's null bulk.
    pub fn null(&mut self) {
        self.either(b"$-1\r\n", b"_\r\n");
    }

    /// No value, where an array could be: RESP2 has a null of its own for it.
    pub fn null_array(&mut self) {
        self.either(b"*-1\r\n", b"_\r\n");
    }

    /// The head of an array of `length` replies.
    pub fn array(&mut self, length: usize) {
        append_integer_line(b'*', length, self.out);
    }

    /// The head of a map of `pairs` pairs: twice as many replies, each key before its value.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => append_integer_line(b'*', 2 * pairs, self.out),
            Protocol::Resp3 => append_integer_line(b'%', pairs, self.out),
        }
    }

    /// The head of a set of `length` replies, in RESP2 an array.
    pub fn set(&mut self, length: usize) {
        self.aggregate(b'~', length);
    }

    /// The head of a message of `length` replies which answers no request, in RESP2 an array.
    pub fn push(&mut self, length: usize) {
        self.aggregate(b'>', length);
    }

    /// A double, in RESP2 its text as a bulk.
    pub fn double(&mut self, value: f64) {
        match self.protocol {
            Protocol::Resp2 => {
                let start = self.out.len();
                append_double(value, self.out);
                // The head needs the text's length: written behind the text, it changes places with it.
                let length = self.out.len() - start;
                append_integer_line(b'$', length, self.out);
                self.out[start..].rotate_left(length);
                self.raw(b"\r\n");
            }
            Protocol::Resp3 => {
                self.out.push(b',');
                append_double(value, self.out);
                self.raw(b"\r\n");
            }
        }
    }

    /// A boolean, in RESP2 the integer one or zero.
    pub fn boolean(&mut self, value: bool) {
        match value {
            true => self.either(b":1\r\n", b"#t\r\n"),
            false => self.either(b":0\r\n", b"#f\r\n"),
        }
    }

    /// An integer of any length, as its digits; in RESP2 a bulk of them.
    pub fn big_number(&mut self, digits: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits.as_bytes()),
            Protocol::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// The head of `pairs` attributes of the reply that comes behind them. RESP2 has none: says whether they are to be
    /// written.
    pub fn begin_attributes(&mut self, pairs: usize) -> bool {
        let has_attributes = self.protocol == Protocol::Resp3;
        if has_attributes {
            append_integer_line(b'|', pairs, self.out);
        }
        has_attributes
    }

    /// Text for people with its format in three letters (`txt`, `mkd`), in RESP2 a bulk of the text alone.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        debug_assert_eq!(format.len(), 3);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                append_integer_line(b'=', format.len() + 1 + text.len(), self.out);
                for part in [format.as_bytes(), b":", text, b"\r\n"] {
                    self.raw(part);
                }
            }
        }
    }

    /// Whole replies that were written before, in the protocol of this client.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn either(&mut self, resp2: &[u8], resp3: &[u8]) {
        self.raw(match self.protocol {
            Protocol::Resp2 => resp2,
            Protocol::Resp3 => resp3,
        });
    }

    fn aggregate(&mut self, resp3: u8, length: usize) {
        let marker = match self.protocol {
            Protocol::Resp2 => b'*',
            Protocol::Resp3 => resp3,
        };
        append_integer_line(marker, length, self.out);
    }

    fn line(&mut self, marker: u8, text: &[u8]) {
        self.out.push(marker);
        let start = self.out.len();
        self.raw(text);
        // Text often quotes a client: a line end in it would begin a reply of the client's making.
        if memchr2(b'\r', b'\n', text).is_some() {
            blank_line_ends(&mut self.out[start..]);
        }
        self.raw(b"\r\n");
    }
}

fn blank_line_ends(text: &mut [u8]) {
    for byte in text {
        if matches!(*byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(write: impl Fn(&mut ReplyWriter), resp2: &str, resp3: &str) {
        for (protocol, expected) in [(Protocol::Resp2, resp2), (Protocol::Resp3, resp3)] {
            let mut out = b"+before\r\n".to_vec();
            write(&mut ReplyWriter::new(&mut out, protocol));
            assert_eq!(String::from_utf8_lossy(&out), format!("+before\r\n{expected}"), "{protocol:?}");
        }
    }

    #[test]
    fn types_of_both_protocols_are_written_alike() {
        check(|reply| reply.ok(), "+OK\r\n", "+OK\r\n");
        check(|reply| reply.simple("PONG"), "+PONG\r\n", "+PONG\r\n");
        check(|reply| reply.error("ERR no"), "-ERR no\r\n", "-ERR no\r\n");
        check(|reply| reply.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n");
        check(|reply| reply.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n");
        check(|reply| reply.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n");
        check(|reply| reply.bulk_integer(-42), "$3\r\n-42\r\n", "$3\r\n-42\r\n");
        check(|reply| reply.array(0), "*0\r\n", "*0\r\n");
        check(|reply| reply.raw(b":1\r\n"), ":1\r\n", ":1\r\n");
    }

    #[test]
    fn types_of_resp3_have_a_stand_in() {
        check(|reply| reply.null(), "$-1\r\n", "_\r\n");
        check(|reply| reply.null_array(), "*-1\r\n", "_\r\n");
        check(|reply| reply.map(2), "*4\r\n", "%2\r\n");
        check(|reply| reply.set(2), "*2\r\n", "~2\r\n");
        check(|reply| reply.push(2), "*2\r\n", ">2\r\n");
        check(|reply| reply.boolean(true), ":1\r\n", "#t\r\n");
        check(|reply| reply.boolean(false), ":0\r\n", "#f\r\n");
        check(|reply| reply.big_number("12"), "$2\r\n12\r\n", "(12\r\n");
        check(
            |reply| assert_eq!(reply.begin_attributes(1), reply.protocol() == Protocol::Resp3),
            "",
            "|1\r\n",
        );
        check(|reply| reply.verbatim("txt", b"a b"), "$3\r\na b\r\n", "=7\r\ntxt:a b\r\n");
    }

    #[test]
    fn doubles_are_bulks_in_resp2() {
        check(|reply| reply.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        check(|reply| reply.double(0.1), "$19\r\n0.10000000000000001\r\n", ",0.10000000000000001\r\n");
        check(|reply| reply.double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
        check(|reply| reply.double(f64::NAN), "$3\r\nnan\r\n", ",nan\r\n");
    }

    #[test]
    fn text_cannot_begin_another_reply() {
        check(|reply| reply.error("ERR a\r\n+OK\n"), "-ERR a  +OK \r\n", "-ERR a  +OK \r\n");
        check(|reply| reply.simple("a\rb"), "+a b\r\n", "+a b\r\n");
    }

    #[test]
    fn a_rollback_forgets_what_was_written_since() {
        let write = |reply: &mut ReplyWriter| {
            let position = reply.position();
            reply.array(2);
            reply.integer(1);
            reply.rollback_to(position);
            reply.error("ERR changed my mind");
        };
        check(write, "-ERR changed my mind\r\n", "-ERR changed my mind\r\n");
    }
}
