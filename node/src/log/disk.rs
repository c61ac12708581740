//! The file operations that durability rests on, few enough to be simulated.
//!
//! Problem: whether a log survives a power cut shows only in a power cut. A missing `fsync` passes every test that
//! merely kills the process, for the kernel keeps what was written.
//!
//! Idea: all that the log does to files goes through [`Disk`] and [`DiskFile`]. [`Directory`] is the real thing;
//! [`simulated::SimulatedDisk`] loses, at a crash, whatever was not synced, in every way that is permitted to a disk.
//!
//! Rule: bytes are durable once [`DiskFile::sync`] returned after they were written; a name (created, renamed or
//! removed) once [`Disk::sync_directory`] returned after that. Nothing else is promised, not even an order.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;

#[cfg_attr(not(test), allow(dead_code, reason = "for tests and the simulator only"))]
pub(crate) mod simulated;

/// One flat directory of files, used by one node.
pub(crate) trait Disk: Send + Sync + 'static {
    /// An open file. It stays readable after its name was removed.
    type File: DiskFile;

    /// The names of all files, in order.
    fn list(&self) -> Result<Vec<String>, DiskError>;

    /// Makes an empty file; one of this name is emptied.
    fn create(&self, name: &str) -> Result<Self::File, DiskError>;

    /// Opens a file for reading and writing, or says that there is none.
    fn open(&self, name: &str) -> Result<Option<Self::File>, DiskError>;

    /// Gives a file another name, at once and whole; a file that had this name is gone.
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file; if there is none, that is fine.
    fn remove(&self, name: &str) -> Result<(), DiskError>;

    /// Makes every name durable as it is now.
    fn sync_directory(&self) -> Result<(), DiskError>;
}

/// One open file of a [`Disk`]. Clones are the same file; positions are always given, so clones share no state.
pub(crate) trait DiskFile: Clone + Send + Sync + 'static {
    /// The name under which it was opened.
    fn name(&self) -> &str;

    /// Its length in bytes.
    fn length(&self) -> Result<u64, DiskError>;

    /// Appends up to `bytes_max` bytes that stand at `offset` to `into`; fewer only where the file ends.
    fn read(&self, offset: u64, bytes_max: usize, into: &mut Vec<u8>) -> Result<(), DiskError>;

    /// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Cuts it to `length`.
    fn truncate(&self, length: u64) -> Result<(), DiskError>;

    /// Makes its bytes durable. After an error what was written since the last success may be lost **even if the
    /// next sync succeeds**, although it still reads well: it must be written again.
    fn sync(&self) -> Result<(), DiskError>;

    /// Forgets what memory holds of synced bytes, so that the next read shows what the disk holds. Without it a
    /// process started after one whose sync had failed would take lost bytes for good ones. Best effort.
    fn forget_cached(&self);
}

/// A file operation failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {file}: {source}")]
pub(crate) struct DiskError {
    /// What was tried: a verb.
    pub operation: &'static str,
    /// The file, or the directory.
    pub file: String,
    /// What the system said.
    pub source: io::Error,
}

impl DiskError {
    /// Whether the disk, or the quota, is full: the same call can succeed once there is room.
    #[cfg(test)]
    pub(crate) fn is_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

/// Replaces a small file as one step that survives a crash: afterwards it is whole, as before or as after. The
/// steps are the disk's own operations, so that a simulated crash can fall between any two.
pub(crate) fn replace<D: Disk>(disk: &D, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let temporary = format!("{name}{TEMPORARY_SUFFIX}");
    let file = disk.create(&temporary)?;
    file.write(0, bytes)?;
    file.sync()?;
    disk.rename(&temporary, name)?;
    disk.sync_directory()
}

/// The end of the name of a file that is being written and will be renamed. One that is found at a start is left
/// from a crash, and means nothing.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

/// Reads a whole small file, or says that there is none.
pub(crate) fn read_whole<D: Disk>(disk: &D, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
    let Some(file) = disk.open(name)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.read(0, SMALL_FILE_BYTES_MAX, &mut bytes)?;
    Ok(Some(bytes))
}

/// What is read of a small file; the rest of a longer one, which no node wrote, is ignored.
const SMALL_FILE_BYTES_MAX: usize = 64 << 10;

/// A real directory, locked so that no second node can use it.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    handle: File,
    /// Holds the lock; the system gives it back when the process ends, however it ends.
    _lock: File,
}

/// Why a directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// Two nodes in one directory would destroy it.
    #[error(
        "another node is using the directory {}: stop that node, or give this one a directory of its own",
        .0.display()
    )]
    InUse(PathBuf),
    /// It cannot be made, opened or locked.
    #[error("cannot use the directory {}: {source}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Directory {
    /// Opens the directory, made if there is none, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, DirectoryError> {
        Self::open_locked(path).map_err(|source| {
            let path = path.to_owned();
            if source.kind() == io::ErrorKind::WouldBlock {
                DirectoryError::InUse(path)
            } else {
                DirectoryError::Unusable { path, source }
            }
        })
    }

    fn open_locked(path: &Path) -> io::Result<Self> {
        make_durably(path)?;
        let lock = open_options().create(true).open(path.join(LOCK_FILE))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path: path.to_owned(), handle: File::open(path)?, _lock: lock })
    }

    fn error(&self, operation: &'static str, name: &str, source: io::Error) -> DiskError {
        DiskError { operation, file: self.path.join(name).display().to_string(), source }
    }

    fn file(&self, name: &str, file: File) -> DirectoryFile {
        let path = self.path.join(name).display().to_string();
        DirectoryFile(Arc::new(OpenFile { name: name.to_owned(), path, file }))
    }
}

/// The file whose lock says that a node uses the directory.
const LOCK_FILE: &str = "lock";

/// Makes a directory, and those above it, and makes their names durable.
fn make_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    make_durably(parent)?;
    fs::create_dir(path)?;
    File::open(parent)?.sync_all()
}

/// Only the node's user may read what the node stores.
fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Disk for Directory {
    type File = DirectoryFile;

    fn list(&self) -> Result<Vec<String>, DiskError> {
        let names = fs::read_dir(&self.path).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<OsString>>>()
        });
        // No file of a node has a name that is not UTF-8.
        let mut names: Vec<String> = names
            .map_err(|source| self.error("list", "", source))?
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, name: &str) -> Result<DirectoryFile, DiskError> {
        match open_options().create(true).truncate(true).open(self.path.join(name)) {
            Ok(file) => Ok(self.file(name, file)),
            Err(source) => Err(self.error("create", name, source)),
        }
    }

    fn open(&self, name: &str) -> Result<Option<DirectoryFile>, DiskError> {
        match open_options().open(self.path.join(name)) {
            Ok(file) => Ok(Some(self.file(name, file))),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.error("open", name, source)),
        }
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        fs::rename(self.path.join(from), self.path.join(to))
            .map_err(|source| self.error("rename", from, source))
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        match fs::remove_file(self.path.join(name)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove", name, source))
            }
            _ => Ok(()),
        }
    }

    fn sync_directory(&self) -> Result<(), DiskError> {
        self.handle.sync_all().map_err(|source| self.error("sync", "", source))
    }
}

/// A file of a [`Directory`].
#[derive(Clone, Debug)]
pub(crate) struct DirectoryFile(Arc<OpenFile>);

#[derive(Debug)]
struct OpenFile {
    name: String,
    path: String,
    file: File,
}

impl DirectoryFile {
    fn error(&self, operation: &'static str, source: io::Error) -> DiskError {
        DiskError { operation, file: self.0.path.clone(), source }
    }

    fn read_at(&self, offset: u64, bytes_max: usize, into: &mut Vec<u8>) -> io::Result<()> {
        let start = into.len();
        into.resize(start + bytes_max, 0);
        let mut done = 0;
        while done < bytes_max {
            match self.0.file.read_at(&mut into[start + done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    into.truncate(start);
                    return Err(error);
                }
            }
        }
        into.truncate(start + done);
        Ok(())
    }
}

impl DiskFile for DirectoryFile {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn length(&self) -> Result<u64, DiskError> {
        match self.0.file.metadata() {
            Ok(metadata) => Ok(metadata.len()),
            Err(source) => Err(self.error("look at", source)),
        }
    }

    fn read(&self, offset: u64, bytes_max: usize, into: &mut Vec<u8>) -> Result<(), DiskError> {
        self.read_at(offset, bytes_max, into).map_err(|source| self.error("read", source))
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.0.file.write_all_at(bytes, offset).map_err(|source| self.error("write", source))
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        self.0.file.set_len(length).map_err(|source| self.error("truncate", source))
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.0.file.sync_data().map_err(|source| self.error("sync", source))
    }

    fn forget_cached(&self) {
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&self.0.file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::open(&temporary.path().join("some/data")).unwrap();
        (temporary, directory)
    }

    #[test]
    fn a_directory_in_use_is_refused_by_name() {
        let (temporary, first) = directory();
        let path = temporary.path().join("some/data");
        let error = Directory::open(&path).unwrap_err().to_string();
        assert!(error.contains("another node is using the directory"), "{error}");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        drop(first);
        Directory::open(&path).unwrap();
    }

    #[test]
    fn a_path_that_is_a_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Directory::open(file.path()).unwrap_err();
        assert!(matches!(error, DirectoryError::Unusable { .. }), "{error}");
    }

    #[test]
    fn files_are_written_read_cut_renamed_and_removed() {
        let (_temporary, disk) = directory();
        let file = disk.create("b").unwrap();
        file.write(0, b"0123456789").unwrap();
        file.write(4, b"xy").unwrap();
        file.truncate(8).unwrap();
        file.sync().unwrap();
        file.forget_cached();
        let mut bytes = b">".to_vec();
        file.read(2, 100, &mut bytes).unwrap();
        assert_eq!((bytes.as_slice(), file.length().unwrap()), (&b">23xy67"[..], 8));
        disk.rename("b", "c").unwrap();
        disk.sync_directory().unwrap();
        assert_eq!(disk.list().unwrap(), ["c", "lock"]);
        assert!(disk.open("b").unwrap().is_none());
        disk.remove("c").unwrap();
        disk.remove("c").unwrap();
        assert_eq!(file.length().unwrap(), 8, "an open file outlives its name");
    }

    #[test]
    fn a_replaced_file_is_whole() {
        let (_temporary, disk) = directory();
        replace(&disk, "node", b"a longer first text").unwrap();
        replace(&disk, "node", b"second").unwrap();
        assert_eq!(read_whole(&disk, "node").unwrap().unwrap(), b"second");
        assert_eq!(disk.list().unwrap(), ["lock", "node"]);
    }
}
