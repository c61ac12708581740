//! Prints a node's change feed as JSON lines, for people and for consumers of change data.
//!
//! One line is one change, in the order of the node's log:
//!
//! ```text
//! {"origin":"00..01","timestamp":"18f..","time_ms":1700000000000,"db":0,"key":"k","op":"set","value":"v"}
//! ```
//!
//! Changes of one origin with one timestamp are one transaction. The last change of each batch has `cursor`, a frontier:
//! given to `--from`, at this node or any other of the group, the feed goes on behind it. A string that is not valid
//! UTF-8 is printed as `{"base64":"..."}`. This module uses plain blocking I/O: it is a program of its own.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use shared::batch::{Batch, BatchError};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::resp::{ReplyDecoder, ReplyError, Value, encode_request};
use shared::version::{Frontier, FrontierSyntax};

use crate::config::Config;
use crate::node_client::{AddressSyntax, BULK_BYTES_MAX, NodeAddress, lossy, parse_truncated};

mod json;

/// How much is read from the node at once, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Why the feed ended. What was printed is whole lines.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TailError {
    #[error("--node: {0}")]
    Node(#[from] AddressSyntax),
    #[error("--from: {0}")]
    From(#[from] FrontierSyntax),
    #[error("cannot reach the node at {0}: {1}")]
    Connect(NodeAddress, io::Error),
    #[error("the connection to the node ended: {0}; go on with --from and the last cursor")]
    Lost(io::Error),
    #[error("the node sent what is no reply: {0}; is it a tandem-node?")]
    Reply(#[from] ReplyError),
    #[error("the node sent what is no batch: {0}")]
    Batch(#[from] BatchError),
    #[error("the node refused: {0}")]
    Refused(String),
    #[error("the node sent what is not of the feed: {0}")]
    Unexpected(String),
    #[error(
        "the node's log no longer holds what is asked for: changes before its start are missing in the feed, though not \
         in the store. To go on where the log starts, say --from \"{0}\""
    )]
    Truncated(String),
    #[error("cannot print: {0}")]
    Print(io::Error),
}

/// Prints the feed until the node or the reader of the output goes away.
pub(crate) fn run(node: Option<&str>, from: Option<&str>) -> Result<(), TailError> {
    let address = node.map_or_else(|| Ok(Config::default().node), str::parse)?;
    let from = from.unwrap_or(";0").parse()?;
    let stream = connect(&address).map_err(|error| TailError::Connect(address, error))?;
    match Tail::new(stream, from, io::stdout().lock()).run() {
        Err(TailError::Print(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

fn connect(address: &NodeAddress) -> io::Result<Box<dyn ReadWrite>> {
    Ok(match address {
        NodeAddress::Tcp(address) => Box::new(TcpStream::connect(address)?),
        NodeAddress::Unix(path) => Box::new(UnixStream::connect(path)?),
    })
}

struct Tail<S, W: Write> {
    stream: S,
    cursor: Frontier,
    out: BufWriter<W>,
}

impl<S: Read + Write, W: Write> Tail<S, W> {
    fn new(stream: S, cursor: Frontier, out: W) -> Self {
        Self { stream, cursor, out: BufWriter::with_capacity(READ_BYTES, out) }
    }

    fn run(mut self) -> Result<(), TailError> {
        self.ask()?;
        let mut decoder = ReplyDecoder::new(BULK_BYTES_MAX);
        let (mut bytes, mut end) = (Vec::new(), 0);
        loop {
            let mut start = 0;
            while let Some((value, length)) = decoder.decode(&bytes[start..end])? {
                self.on_value(&value)?;
                start += length;
            }
            bytes.copy_within(start..end, 0);
            end -= start;
            bytes.resize(bytes.len().max(end + READ_BYTES), 0);
            end += match self.stream.read(&mut bytes[end..]) {
                Ok(0) => return Err(TailError::Lost(ErrorKind::UnexpectedEof.into())),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => 0,
                Err(error) => return Err(TailError::Lost(error)),
            };
        }
    }

    fn ask(&mut self) -> Result<(), TailError> {
        let mut words = vec!["FEED".to_owned(), "FOLLOW".to_owned()];
        for (origin, after) in self.cursor.iter() {
            words.extend([origin.to_string(), after.to_string()]);
        }
        words.extend(["*".to_owned(), self.cursor.floor().to_string()]);
        let arguments: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let mut request = Vec::new();
        encode_request(&arguments, &mut request);
        self.stream.write_all(&request).map_err(TailError::Lost)
    }

    fn on_value(&mut self, value: &Value<'_>) -> Result<(), TailError> {
        match value {
            Value::Simple(_) => Ok(()),
            Value::Bulk(batch) => self.on_batch(batch),
            Value::Error(error) => Err(self.refused(&lossy(error))),
            value => Err(TailError::Unexpected(format!("{value:?}").chars().take(200).collect())),
        }
    }

    fn refused(&self, error: &str) -> TailError {
        match parse_truncated(error) {
            Some(starts) => TailError::Truncated(self.raised_to(&starts).to_string()),
            None => TailError::Refused(error.to_owned()),
        }
    }

    fn raised_to(&self, starts: &BTreeMap<Origin, Timestamp>) -> Frontier {
        let mut cursor = self.cursor.clone();
        for (origin, start) in starts {
            cursor.advance(*origin, *start);
        }
        cursor
    }

    /// Prints a batch, and has its reader get it at once.
    fn on_batch(&mut self, bytes: &[u8]) -> Result<(), TailError> {
        let batch = Batch::decode(bytes)?;
        let origin = batch.header.origin;
        self.cursor.advance(origin, batch.header.upto);
        let mut changes = batch.changes().peekable();
        while let Some(change) = changes.next() {
            let (timestamp, change) = change?;
            let cursor = changes.peek().is_none().then(|| self.cursor.to_string());
            let line = json::Line::new(origin, timestamp, &change, cursor);
            serde_json::to_writer(&mut self.out, &line).map_err(|error| TailError::Print(error.into()))?;
            self.out.write_all(b"\n").map_err(TailError::Print)?;
        }
        self.out.flush().map_err(TailError::Print)
    }
}

#[cfg(test)]
mod tests;
