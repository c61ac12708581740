//! A connection to a master: requests, and their replies.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use shared::resp::{ReplyDecoder, Value, encode_request};
use shared::version::Frontier;

/// Whoever does not answer for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest reply, in bytes: INFO's, or a value.
const REPLY_BYTES_MAX: usize = 4 << 20;

/// A connection to a master.
pub(crate) struct Client {
    stream: TcpStream,
    decoder: ReplyDecoder,
    input: Vec<u8>,
    /// How much of the input was read.
    taken: usize,
}

impl Client {
    /// Connects to `HOST:PORT`.
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
        let place = address.to_socket_addrs().map_err(named)?.next();
        let place = place.ok_or_else(|| named(io::Error::other("there is no such host")))?;
        let stream = TcpStream::connect_timeout(&place, PATIENCE).map_err(named)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, decoder: ReplyDecoder::new(REPLY_BYTES_MAX), input: Vec::new(), taken: 0 })
    }

    /// Sends requests that are encoded already.
    pub(crate) fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        self.stream.write_all(requests)
    }

    /// Waits for the next reply, and takes it.
    pub(crate) fn receive<T>(&mut self, take: impl FnOnce(Value<'_>) -> T) -> io::Result<T> {
        loop {
            let broken = |error| io::Error::new(ErrorKind::InvalidData, format!("{error}"));
            if let Some((reply, consumed)) = self.decoder.decode(&self.input[self.taken..]).map_err(broken)? {
                self.taken += consumed;
                return Ok(take(reply));
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.input.drain(..std::mem::take(&mut self.taken));
        let length = self.input.len();
        self.input.resize(length + (16 << 10), 0);
        let read = match self.stream.read(&mut self.input[length..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            result => result,
        };
        self.input.truncate(length + read.as_ref().copied().unwrap_or(0));
        read.map(drop)
    }

    /// Sends a command, and takes its reply: an error, or nothing but an error, is told as text.
    pub(crate) fn run<T>(
        &mut self,
        command: &[&[u8]],
        take: impl FnOnce(Value<'_>) -> T,
    ) -> io::Result<Result<T, String>> {
        let mut request = Vec::new();
        encode_request(command, &mut request);
        self.send(&request)?;
        self.receive(|reply| match reply {
            Value::Error(text) => Err(String::from_utf8_lossy(text).into_owned()),
            reply => Ok(take(reply)),
        })
    }

    /// Sets a key.
    pub(crate) fn set(&mut self, key: &[u8], value: &[u8]) -> io::Result<Result<(), String>> {
        self.run(&[b"SET", key, value], |_| ())
    }

    /// A key's value; none if there is none, or the master does not tell.
    pub(crate) fn get(&mut self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let value = self.run(&[b"GET", key], |reply| text(&reply).map(<[u8]>::to_vec))?;
        Ok(value.ok().flatten())
    }

    /// A section of INFO.
    pub(crate) fn info(&mut self, section: &str) -> io::Result<String> {
        let take = |reply: Value<'_>| text(&reply).map(|text| String::from_utf8_lossy(text).into_owned());
        let info = self.run(&[b"INFO", section.as_bytes()], take)?;
        Ok(info.ok().flatten().unwrap_or_default())
    }

    /// What a Tandem node holds; none if it is another's server, or does not tell us.
    pub(crate) fn frontier(&mut self) -> io::Result<Option<Frontier>> {
        let frontier = self.run(&[b"FEED", b"INFO"], |reply| {
            let Value::Array(fields) = reply else { return None };
            let name = fields.iter().position(|field| text(field) == Some(b"frontier"))?;
            str::from_utf8(text(fields.get(name + 1)?)?).ok()?.parse().ok()
        })?;
        Ok(frontier.ok().flatten())
    }
}

fn text<'a>(value: &Value<'a>) -> Option<&'a [u8]> {
    match value {
        Value::Bulk(text) | Value::Simple(text) => Some(text),
        _ => None,
    }
}
