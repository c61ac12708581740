//! A disk on which a node soon has no room, and then has room again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tempfile::TempDir;

use crate::host::Host;
use crate::segment;

/// How much a node may still write after [`SmallDisk::limit`], about, in bytes.
const ROOM_BYTES: u64 = 256 << 10;

/// The size of the file system that is mounted, in bytes.
const MOUNTED_BYTES: u64 = 4 << 20;

/// A disk that is made small.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    /// A file system of [`MOUNTED_BYTES`] that only the node sees, mounted with these rights.
    Mounted(&'static str),
    /// The kernel's limit on the length of a process's files.
    FileLength,
}

impl SmallDisk {
    /// A small file system. None where this process may mount nothing; the reason is printed.
    ///
    /// # Panics
    /// If no temporary directory can be made.
    #[must_use]
    pub fn mounted() -> Option<Self> {
        let may_mount = |rights: &&str| {
            let tried =
                Command::new("unshare").args([rights, "sh", "-c", "mount -t tmpfs none /mnt"]).output();
            tried.is_ok_and(|tried| tried.status.success())
        };
        let Some(rights) = ["-m", "-rm"].into_iter().find(may_mount) else {
            eprintln!("skipped: this process may not mount a small file system");
            return None;
        };
        Some(Self { dir: dir(), limit: Limit::Mounted(rights) })
    }

    /// A limit on the length of files, which needs no rights.
    ///
    /// # Panics
    /// If no temporary directory can be made.
    #[must_use]
    pub fn limited() -> Self {
        Self { dir: dir(), limit: Limit::FileLength }
    }

    /// Has the host's node started on this disk, where there is room at first.
    pub fn give_to(&self, host: &mut Host) {
        let mount = self.mount();
        let script = match self.limit {
            Limit::Mounted(_) => {
                format!("mount -t tmpfs -o size={MOUNTED_BYTES} none {} && exec \"$@\"", mount.display())
            }
            // A process that does not ignore the signal for it is killed in place of getting an error.
            Limit::FileLength => "trap '' XFSZ && exec \"$@\"".to_owned(),
        };
        let shell = ["sh", "-c", &script, "sh"];
        let wrapper = match self.limit {
            Limit::Mounted(rights) => [&["unshare", rights], &shell[..]].concat(),
            Limit::FileLength => shell.to_vec(),
        };
        host.node_wrapper = wrapper.into_iter().map(ToOwned::to_owned).collect();
        host.node_flags.extend(["--dir".to_owned(), self.data_dir().display().to_string()]);
    }

    /// Leaves the running node little room.
    ///
    /// # Panics
    /// If it does not run on this disk.
    pub fn limit(&self, host: &Host) {
        match self.limit {
            Limit::Mounted(_) => {
                let ballast = vec![0; (MOUNTED_BYTES - ROOM_BYTES) as usize];
                fs::write(self.ballast(host), ballast).expect("there is room yet");
            }
            Limit::FileLength => {
                let length = segment::newest(&self.data_dir()).metadata().expect("a file has a length").len();
                set_file_length_max(host, Some(length + ROOM_BYTES));
            }
        }
    }

    /// Gives the running node room again.
    ///
    /// # Panics
    /// If it does not run on this disk.
    pub fn give_room(&self, host: &Host) {
        match self.limit {
            Limit::Mounted(_) => fs::remove_file(self.ballast(host)).expect("the ballast is there"),
            Limit::FileLength => set_file_length_max(host, None),
        }
    }

    fn mount(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    fn data_dir(&self) -> PathBuf {
        self.mount().join("data")
    }

    /// A file beside the node's, on the file system that only the node sees.
    fn ballast(&self, host: &Host) -> PathBuf {
        let root = format!("/proc/{}/root", pid(host).as_raw_nonzero());
        Path::new(&root)
            .join(self.mount().strip_prefix("/").expect("a temporary directory's path is absolute"))
            .join("ballast")
    }
}

fn dir() -> TempDir {
    let dir = TempDir::new().expect("a temporary directory");
    fs::create_dir(dir.path().join("mount")).expect("a place to mount at");
    dir
}

fn pid(host: &Host) -> Pid {
    host.node.as_ref().expect("the node runs").pid()
}

fn set_file_length_max(host: &Host, bytes: Option<u64>) {
    let before = getrlimit(Resource::Fsize);
    let limit = Rlimit { current: bytes.or(before.current), maximum: before.maximum };
    prlimit(Some(pid(host)), Resource::Fsize, limit).expect("the limit of a child can be set");
}
