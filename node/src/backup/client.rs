//! Asks a running node for a backup.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use shared::batch::BATCH_BYTES_MAX;
use shared::resp::{ReplyDecoder, Value, encode_request};

use super::manifest::Manifest;
use crate::log::disk::{DirectoryError, DiskError};
use crate::log::identity::IdentityError;
use crate::log::recovery::RecoveryError;
use crate::log::segment::LogError;
use crate::log::snapshot::SnapshotError;

/// Why there is no backup, or nothing was restored. The directory that was to be made may hold a part: it is to be
/// removed. The backup that was read stays as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("cannot reach the node at {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("the node's answer broke off: {0}; remove the directory, and try again")]
    Broken(#[from] io::Error),
    /// The node said so.
    #[error("the node refuses: {0}")]
    Refused(String),
    /// What answers is no node, or one of another build.
    #[error("what answers is not a backup: is it a tandem-node of this version?")]
    Unexpected,
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("the directory {} is not empty: give one that is, or that is not there", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} holds no backup, or one that was not finished: there is no file named backup in it", .0.display())]
    NoBackup(PathBuf),
    #[error(
        "the file backup, which says what the backup is, is damaged, or of another build: take another backup"
    )]
    Manifest,
    #[error("the backup is not whole: {0}; take another, or another copy of it")]
    NotWhole(String),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A node that gives a backup.
pub(super) struct Source {
    stream: Box<dyn Read>,
    decoder: ReplyDecoder,
    buffer: Vec<u8>,
}

/// What is read at once.
const READ_BYTES: usize = 1 << 20;

impl Source {
    /// Asks the node at this address: HOST:PORT, or unix:PATH.
    pub(super) fn open(address: &str) -> Result<Self, BackupError> {
        let failed = |source| BackupError::Connect { address: address.to_owned(), source };
        let mut request = Vec::new();
        encode_request(&[b"FEED", b"BACKUP"], &mut request);
        let stream: Box<dyn Read> = match address.strip_prefix("unix:") {
            Some(path) => {
                let mut stream = UnixStream::connect(path).map_err(failed)?;
                stream.write_all(&request).map_err(failed)?;
                Box::new(stream)
            }
            None => {
                let mut stream = TcpStream::connect(address).map_err(failed)?;
                stream.write_all(&request).map_err(failed)?;
                Box::new(stream)
            }
        };
        Ok(Self { stream, decoder: ReplyDecoder::new(BATCH_BYTES_MAX), buffer: Vec::new() })
    }

    pub(super) fn manifest(&mut self) -> Result<Manifest, BackupError> {
        self.next(Manifest::decode)?
    }

    /// The next piece of the answer.
    pub(super) fn next<T>(&mut self, take: impl FnOnce(&[u8]) -> T) -> Result<T, BackupError> {
        loop {
            match self.decoder.decode(&self.buffer).map_err(|_| BackupError::Unexpected)? {
                Some((Value::Bulk(bytes), consumed)) => {
                    let taken = take(bytes);
                    self.buffer.drain(..consumed);
                    return Ok(taken);
                }
                Some((Value::Error(text), _)) => {
                    return Err(BackupError::Refused(String::from_utf8_lossy(text).into_owned()));
                }
                Some(_) => return Err(BackupError::Unexpected),
                None => self.read()?,
            }
        }
    }

    fn read(&mut self) -> Result<(), BackupError> {
        let held = self.buffer.len();
        self.buffer.resize(held + READ_BYTES, 0);
        let read = self.stream.read(&mut self.buffer[held..]);
        self.buffer.truncate(held + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }
}
