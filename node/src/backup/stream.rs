//! Gives a backup to who asked for it by `FEED BACKUP`.
//!
//! It begins with a snapshot, written as by SAVE. Then the log is read, before another snapshot can make it unnecessary;
//! the file of the snapshot stays readable even if the next one takes its place meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_std::io::{Write, WriteExt};
use async_std::task::{sleep, spawn_blocking};
use shared::resp::{Protocol, ReplyWriter};
use slog::{Logger, info, warn};

use super::manifest::Manifest;
use crate::client::ClientRecord;
use crate::log::disk::{Directory, Disk, DiskFile};
use crate::log::segment::LogPosition;
use crate::log::snapshot::{SnapshotError, StoredSnapshot, newest};
use crate::server::{Server, wall_clock};
use crate::snapshots::Ticket;

/// How often it is looked whether what is waited for has come.
const POLL: Duration = Duration::from_millis(20);

/// What is sent at once, of the snapshot or of the log.
const PIECE_BYTES: usize = 1 << 20;

/// Why a backup is not given, or broken off.
type Refusal = String;

type Snapshot = StoredSnapshot<<Directory as Disk>::File>;

/// A backup that a client has asked for.
pub(crate) struct BackupStream {
    pub(crate) server: Arc<Server>,
    pub(crate) record: Arc<ClientRecord>,
    pub(crate) ticket: Ticket,
    pub(crate) protocol: Protocol,
}

impl BackupStream {
    /// Gives all of it, behind what is left of replies before it.
    pub(crate) async fn run(
        self,
        mut output: Vec<u8>,
        mut writer: impl Write + Unpin,
        logger: &Logger,
    ) -> io::Result<()> {
        match self.prepare().await {
            Ok((manifest, snapshot)) => {
                info!(logger, "backup begins"; "client" => self.record.id, "snapshot_bytes" => snapshot.bytes(),
                    "log_bytes" => manifest.log_end.0 - manifest.replay.0);
                self.reply(&mut output).bulk(manifest.encode().as_bytes());
                match self.send(&manifest, snapshot, &mut output, &mut writer).await? {
                    Ok(()) => self.reply(&mut output).ok(),
                    Err(refusal) => self.refuse(&refusal, &mut output, logger),
                }
            }
            Err(refusal) => self.refuse(&refusal, &mut output, logger),
        }
        writer.write_all(&output).await
    }

    fn reply<'o>(&self, output: &'o mut Vec<u8>) -> ReplyWriter<'o> {
        ReplyWriter::new(output, self.protocol)
    }

    fn refuse(&self, refusal: &str, output: &mut Vec<u8>, logger: &Logger) {
        warn!(logger, "backup cannot be given"; "client" => self.record.id, "error" => refusal);
        self.reply(output).error(&format!("ERR {refusal}"));
    }

    /// Waits for the snapshot, and for the log that belongs to it.
    async fn prepare(&self) -> Result<(Manifest, Arc<Snapshot>), Refusal> {
        loop {
            match self.ticket.outcome() {
                Some(outcome) => break outcome?,
                None => self.rest().await?,
            }
        }
        let disk = self.server.disk().ok_or("this node keeps nothing on disk")?;
        let snapshot = spawn_blocking(move || open_newest(&disk)).await.map_err(|error| error.to_string())?;
        let snapshot = snapshot.ok_or("the snapshot is gone: try again")?;
        let log = &self.server.node.log;
        let log_end = log.ask_sync();
        while !log.is_durable(log_end) {
            if let Some(fault) = log.status().fault {
                return Err(format!("the log cannot be written: {fault}"));
            }
            self.rest().await?;
        }
        let own = self.server.identity();
        let header = snapshot.header();
        let manifest = Manifest {
            node_id: own.node_id,
            name: own.name,
            group_id: own.group_id,
            taken: wall_clock(),
            replay: header.replay,
            log_end,
            snapshot_bytes: snapshot.bytes(),
            frontier: header.frontier.clone(),
        };
        Ok((manifest, Arc::new(snapshot)))
    }

    async fn send(
        &self,
        manifest: &Manifest,
        snapshot: Arc<Snapshot>,
        output: &mut Vec<u8>,
        writer: &mut (impl Write + Unpin),
    ) -> io::Result<Result<(), Refusal>> {
        let mut position = manifest.replay;
        while position < manifest.log_end {
            match self.read_log(position, manifest.log_end, output).await {
                Ok(next) => position = next,
                Err(refusal) => return Ok(Err(refusal)),
            }
            writer.write_all(output).await?;
            output.clear();
        }
        let mut offset = 0;
        while offset < manifest.snapshot_bytes {
            let file = snapshot.file().clone();
            let piece = spawn_blocking(move || {
                let mut piece = Vec::new();
                file.read(offset, PIECE_BYTES, &mut piece).map(|()| piece)
            });
            let piece = match piece.await {
                Ok(piece) if !piece.is_empty() => piece,
                Ok(_) => return Ok(Err("the snapshot was cut short".to_owned())),
                Err(error) => return Ok(Err(error.to_string())),
            };
            offset += piece.len() as u64;
            self.reply(output).bulk(&piece);
            writer.write_all(output).await?;
            output.clear();
            if self.is_over() {
                return Ok(Err("the node stops, or the client was killed".to_owned()));
            }
        }
        Ok(Ok(()))
    }

    /// Adds the next batches of the log to the output.
    async fn read_log(
        &self,
        from: LogPosition,
        end: LogPosition,
        output: &mut Vec<u8>,
    ) -> Result<LogPosition, Refusal> {
        let reader = self.server.log_reader().ok_or("this node has no log on disk")?;
        let read = spawn_blocking(move || reader.read(from, PIECE_BYTES)).await;
        let (batches, next) = read.map_err(|error| format!("{error}: try again"))?;
        for sealed in batches.iter().filter(|sealed| sealed.position < end) {
            self.reply(output).bulk(&sealed.bytes);
        }
        if next > from { Ok(next) } else { Err("the log ends early".to_owned()) }
    }

    async fn rest(&self) -> Result<(), Refusal> {
        if self.is_over() {
            return Err("the node stops, or the client was killed".to_owned());
        }
        sleep(POLL).await;
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.server.is_stopping() || self.record.killed.load(Ordering::Acquire)
    }
}

fn open_newest(disk: &Directory) -> Result<Option<Snapshot>, SnapshotError> {
    let Some((replay, name)) = newest(disk)? else { return Ok(None) };
    let Some(file) = disk.open(&name)? else { return Ok(None) };
    StoredSnapshot::open(file, replay).map(Some)
}
