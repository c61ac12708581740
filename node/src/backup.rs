//! Backups: a running node's data as files, and a directory for a new node made of them.
//!
//! Problem: a copy of a directory is a copy of the node, too. Put back beside its group it would go on under its old
//! identity, with a frontier of the past; and what members have deleted since, and have forgotten that they did, would be
//! back.
//!
//! Idea: a backup is a snapshot and the log from where it began to where it ended, so that it is the node's state at one
//! moment. What is made of it is a new node in the place of one that was evicted then: it has a new id, and joins the group
//! by taking over its state. Where the group's frontier covers what the backup holds, the group knows better, so what it has
//! deleted stays deleted; what the group has not seen the restored node writes once more. As with one that was evicted, the
//! group is told under which id it was known, for of origins that ended long ago no frontier tells.
//!
//! ```text
//! backup           what the backup is, in text, with a checksum; written last: without it the backup is not whole
//! snapshot-...     as in a node's directory
//! log-....seg      likewise: one segment or more, ended in order
//! ```
//!
//! The node gives it as one answer to `FEED BACKUP`: the text, the batches one by one, the snapshot in pieces, `OK`.

mod client;

mod manifest;

pub(crate) mod stream;

mod files;

pub(crate) use self::client::BackupError;

use std::path::Path;
use std::sync::Arc;

use shared::id::NodeId;

use self::client::Source;
use self::files::{Contents, copy, new_directory, verify, write};
use self::manifest::Manifest;
use crate::group::Stored;
use crate::log::disk::{Directory, Disk, TEMPORARY_SUFFIX, read_whole, replace};
use crate::log::identity::Identity;
use crate::open::MEMBERS_FILE;

/// The name of the file with the [`Manifest`].
const MANIFEST_FILE: &str = "backup";

/// Takes a backup of the node at this address into a new directory, and verifies it. Returns what to tell.
pub(crate) fn take(node: &str, target: &Path) -> Result<String, BackupError> {
    let mut source = Source::open(node)?;
    let manifest = source.manifest()?;
    let disk = Arc::new(new_directory(target)?);
    write(&disk, &manifest, &mut source)?;
    let Contents { keys, batches } = verify(&disk, &manifest)?;
    replace(&*disk, MANIFEST_FILE, manifest.encode().as_bytes())?;
    Ok(format!(
        "backup of node {} ({}) in {}: {keys} keys, dead ones included, and {batches} batches of the log behind them; verified",
        manifest.name,
        manifest.node_id,
        target.display()
    ))
}

/// Makes of a backup the directory of a new node with this name and id. Returns what to tell.
pub(crate) fn restore(
    backup: &Path,
    target: &Path,
    name: &str,
    node_id: NodeId,
) -> Result<String, BackupError> {
    if !backup.is_dir() {
        return Err(BackupError::NoBackup(backup.to_owned()));
    }
    let from = Directory::open(backup)?;
    let bytes = read_whole(&from, MANIFEST_FILE)?.ok_or_else(|| BackupError::NoBackup(backup.to_owned()))?;
    let manifest = Manifest::decode(&bytes)?;
    let disk = Arc::new(new_directory(target)?);
    let snapshot = manifest.snapshot_name();
    let floor = manifest.frontier.floor();
    let stored = Stored {
        is_joining: true,
        formerly: manifest.node_id,
        floor,
        parted: Some(floor),
        ..Stored::default()
    };
    replace(&*disk, MEMBERS_FILE, &stored.encode())?;
    Identity { node_id, name: name.to_owned(), group: None, group_id: manifest.group_id }.create(&*disk)?;
    // The snapshot last: without it the log is refused, so that nothing that is half done can be started.
    for name in from.list()?.iter().filter(|name| name.ends_with(".seg")) {
        copy(&from, &*disk, name, name)?;
    }
    let temporary = format!("{snapshot}{}", TEMPORARY_SUFFIX);
    copy(&from, &*disk, &snapshot, &temporary)?;
    disk.rename(&temporary, &snapshot)?;
    disk.sync_directory()?;
    let Contents { keys, .. } = verify(&disk, &manifest)?;
    Ok(format!(
        "{} holds {keys} keys of node {}, as of {} ms after 1970; start it with: tandem-node --dir {} --name {name}",
        target.display(),
        manifest.name,
        manifest.taken.0,
        target.display()
    ))
}
