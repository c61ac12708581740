//! Streams of the feed: connections that asked for FEED FOLLOW, served by async-std tasks.
//!
//! A stream reads the log from a position of its own and is not read ahead of what its follower takes: a slow
//! follower costs the node one position. What it misses in memory it reads from disk.

pub(crate) mod cursor;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_std::io::{ReadExt, WriteExt};
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use shared::resp::{ReplyWriter, RequestDecoder, RequestLimits};
use slog::{Logger, debug, warn};

use crate::backup::stream::BackupStream;
use crate::client::ClientRecord;
use crate::command::feed::subscription;
use crate::log::Sealed;
use crate::log::segment::LogPosition;
use crate::runtime;
use crate::server::Server;
use crate::snapshots::Ticket;

pub(crate) use self::cursor::{Subscription, Wanted};

use self::cursor::Cursor;

/// A turn of a stream writes about this many bytes at most.
const TURN_BYTES: usize = 256 << 10;

/// After so many bytes without a rest, a stream looks whether its follower has asked for something else.
const LOOK_BYTES: usize = 256 << 10;

/// A follower's requests are short; one longer than this ends its stream.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// A connection on its way from a worker to its stream.
pub(crate) struct Handover {
    pub(crate) socket: Socket,
    pub(crate) errand: Errand,
    /// What the worker had read behind the request.
    pub(crate) input: Vec<u8>,
    /// Replies that it had not sent yet.
    pub(crate) output: Vec<u8>,
    pub(crate) record: Arc<ClientRecord>,
    pub(crate) protocol: shared::resp::Protocol,
}

/// What a connection has become a stream for.
pub(crate) enum Errand {
    /// The batches of some origins.
    Follow(Subscription),
    /// A backup, when what becomes of this snapshot is known.
    Backup(Ticket),
}

/// A stream socket of either sort.
pub(crate) enum Socket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// Serves a stream until its follower goes or the node stops.
pub(crate) async fn serve(server: Arc<Server>, handover: Handover, logger: Logger) {
    let Handover { socket, errand, input, output, record, protocol } = handover;
    let carry_out = CarryOut {
        server: Arc::clone(&server),
        record: Arc::clone(&record),
        protocol,
        logger: logger.clone(),
    };
    let ended = match socket {
        Socket::Tcp(socket) => {
            let socket = async_std::net::TcpStream::from(socket);
            carry_out.run(errand, input, output, &socket, &socket).await
        }
        Socket::Unix(socket) => {
            let socket = async_std::os::unix::net::UnixStream::from(socket);
            carry_out.run(errand, input, output, &socket, &socket).await
        }
    };
    match ended {
        Ok(()) => debug!(logger, "stream ended"; "client" => record.id),
        Err(error) => debug!(logger, "stream broke"; "client" => record.id, "error" => %error),
    }
    server.clients.disconnect(record.id);
}

/// What streams of every kind need.
struct CarryOut {
    server: Arc<Server>,
    record: Arc<ClientRecord>,
    protocol: shared::resp::Protocol,
    logger: Logger,
}

impl CarryOut {
    async fn run(
        self,
        errand: Errand,
        input: Vec<u8>,
        output: Vec<u8>,
        reader: impl async_std::io::Read + Unpin,
        writer: impl async_std::io::Write + Unpin,
    ) -> std::io::Result<()> {
        let Self { server, record, protocol, logger } = self;
        match errand {
            Errand::Backup(ticket) => {
                BackupStream { server, record, ticket, protocol }.run(output, writer, &logger).await
            }
            Errand::Follow(subscription) => {
                let decoder = RequestDecoder::new(RequestLimits {
                    request_bytes_max: REQUEST_BYTES_MAX,
                    ..RequestLimits::default()
                });
                let cursor = Cursor::default();
                let stream = Stream { server, cursor, decoder, input, output, protocol, record, logger };
                stream.run(subscription, reader, writer).await
            }
        }
    }
}

struct Stream {
    server: Arc<Server>,
    cursor: Cursor,
    decoder: RequestDecoder,
    input: Vec<u8>,
    output: Vec<u8>,
    protocol: shared::resp::Protocol,
    record: Arc<ClientRecord>,
    logger: Logger,
}

impl Stream {
    async fn run(
        mut self,
        subscription: Subscription,
        mut reader: impl async_std::io::Read + Unpin,
        mut writer: impl async_std::io::Write + Unpin,
    ) -> std::io::Result<()> {
        let mut jumps_seen = self.server.node.log.jumps();
        self.subscribe(&subscription);
        let mut waits_seen = self.server.waits_begun();
        let mut buffer = vec![0; 16 << 10];
        let mut busy_bytes = 0;
        loop {
            if !self.requests() {
                writer.write_all(&self.output).await?;
                return Ok(());
            }
            // Listen first, look then: so no batch sealed in between is missed.
            let listener = self.server.node.log.listen();
            let jumps = self.server.node.log.jumps();
            if jumps != jumps_seen {
                jumps_seen = jumps;
                self.check_not_truncated()?;
            }
            let moved_on = self.collect().await?;
            let waits = self.server.waits_begun();
            if waits != waits_seen {
                waits_seen = waits;
                ReplyWriter::new(&mut self.output, self.protocol).simple("WAITING");
            }
            if self.server.is_stopping() || self.record.killed.load(Ordering::Acquire) {
                return Ok(());
            }
            if !self.output.is_empty() {
                writer.write_all(&self.output).await?;
                busy_bytes += self.output.len();
                self.output.clear();
                if busy_bytes < LOOK_BYTES {
                    continue;
                }
                // A stream that never rests still looks for requests now and then.
                busy_bytes = 0;
                match reader.read(&mut buffer).now_or_never() {
                    Some(Ok(0)) => return Ok(()),
                    Some(read) => self.input.extend_from_slice(&buffer[..read?]),
                    None => {}
                }
                continue;
            }
            if moved_on {
                // Nothing of this stretch of the log is wanted, but what lies behind it may be.
                async_std::task::yield_now().await;
                continue;
            }
            busy_bytes = 0;
            match select(reader.read(&mut buffer), listener).await {
                Either::Left((read, _)) => match read? {
                    0 => return Ok(()),
                    length => self.input.extend_from_slice(&buffer[..length]),
                },
                Either::Right(_) => {}
            }
        }
    }

    /// Carries out the requests that have arrived. Returns whether the stream goes on.
    fn requests(&mut self) -> bool {
        loop {
            let consumed = match self.decoder.decode(&self.input) {
                Ok(Some(consumed)) => consumed,
                Ok(None) => return self.input.len() <= REQUEST_BYTES_MAX,
                Err(error) => {
                    ReplyWriter::new(&mut self.output, self.protocol).error(&format!("ERR {error}"));
                    return false;
                }
            };
            let arguments: Vec<Vec<u8>> = self.decoder.arguments(&self.input).map(<[u8]>::to_vec).collect();
            self.input.drain(..consumed);
            let arguments: Vec<&[u8]> = arguments.iter().map(|argument| &**argument).collect();
            match &arguments[..] {
                [] => {}
                [name] if name.eq_ignore_ascii_case(b"quit") => {
                    ReplyWriter::new(&mut self.output, self.protocol).ok();
                    return false;
                }
                [name] if name.eq_ignore_ascii_case(b"ping") => {
                    ReplyWriter::new(&mut self.output, self.protocol).simple("PONG");
                }
                [feed, follow, rest @ ..]
                    if feed.eq_ignore_ascii_case(b"feed") && follow.eq_ignore_ascii_case(b"follow") =>
                {
                    match subscription(rest) {
                        Ok(asked) => self.subscribe(&asked),
                        Err(error) => {
                            ReplyWriter::new(&mut self.output, self.protocol).error(&error.to_string());
                        }
                    }
                }
                _ => ReplyWriter::new(&mut self.output, self.protocol)
                    .error("ERR a stream of the feed takes FEED FOLLOW, PING and QUIT only"),
            }
        }
    }

    /// Ends the stream if the log has moved to where it cannot serve this follower any more, which will be told so when
    /// it asks again.
    fn check_not_truncated(&self) -> std::io::Result<()> {
        let log = &self.server.node.log;
        if self.cursor.is_cut_off(log) {
            return Err(std::io::Error::other("the log starts later now than the follower needs"));
        }
        Ok(())
    }

    /// Replaces what is followed, or answers which origins' logs start too late for that.
    fn subscribe(&mut self, asked: &Subscription) {
        let subscribed = self.cursor.subscribe(&self.server.node.log, asked);
        let mut reply = ReplyWriter::new(&mut self.output, self.protocol);
        match subscribed {
            Ok(()) => reply.ok(),
            Err(starts) => {
                let starts: Vec<_> =
                    starts.iter().map(|(origin, start)| format!("{origin}:{start}")).collect();
                reply.error(&format!("TRUNCATED {}", starts.join(",")));
            }
        }
    }

    /// Moves what is wanted of the log's next part to the output. Returns whether there was such a part.
    async fn collect(&mut self) -> std::io::Result<bool> {
        if self.output.len() >= TURN_BYTES {
            return Ok(false);
        }
        let from = self.cursor.position();
        let batches = match self.server.node.log.recent(from, TURN_BYTES) {
            Some(batches) => batches,
            None => {
                let (batches, next) = self.read_from_disk().await?;
                self.cursor.pass(next);
                batches
            }
        };
        for sealed in self.cursor.take_wanted(batches, &self.server.node.merged) {
            ReplyWriter::new(&mut self.output, self.protocol).bulk(&sealed.bytes);
        }
        Ok(self.cursor.position() > from)
    }

    async fn read_from_disk(&self) -> std::io::Result<(Vec<Sealed>, LogPosition)> {
        let Some(reader) = self.server.log_reader() else {
            // Memory only, and what comes next here has been dropped meanwhile: the follower is too slow.
            warn!(self.logger, "follower fell behind what the log in memory holds; its stream is closed";
                "position" => self.cursor.position().0);
            return Err(std::io::Error::other(
                "the log in memory no longer holds what the follower needs next",
            ));
        };
        let from = self.cursor.position();
        runtime::unblock(move || reader.read(from, TURN_BYTES)).await
    }
}
