//! Loads a node from its directory, while clients are told to wait.

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use shared::id::{NodeId, Origin};
use slog::{Logger, info, warn};

use super::{StartError, random, random_numbers};
use crate::log::SealedReader;
use crate::log::disk::Directory;
use crate::log::writer::Writer;
use crate::open::{Found, Opened, Opening, open};
use crate::runtime;
use crate::server::Server;
use crate::snapshots::Snapshots;

/// What of a node works on its directory.
pub(super) type OnDisk = (Writer<Directory>, Snapshots<Directory>);

/// Loads the node from its directory, if it has one, while clients are told to wait. None also if it is stopped meanwhile:
/// then the thread that loads ends with the process, and the directory is fine, as after any crash.
pub(super) fn load(server: &Arc<Server>, logger: &Logger) -> Result<Option<OnDisk>, StartError> {
    let Some(path) = server.config.dir.clone() else { return Ok(None) };
    let (tell, loaded) = async_std::channel::bounded(1);
    let (loading, load_logger) = (Arc::clone(server), logger.clone());
    let work = move || {
        // Nobody listens if the node is stopped.
        let _ = tell.try_send(load_directory(&loading, &path, &load_logger));
    };
    let system = |error| StartError::System { what: "load the directory", error };
    std::thread::Builder::new().name("load".to_owned()).spawn(work).map_err(system)?;
    runtime::spawn(tell_progress(Arc::clone(server), logger.clone()));
    let stopped = server.stop_listener();
    if server.is_stopping() {
        return Ok(None);
    }
    let first = {
        let receiving = std::pin::pin!(loaded.recv());
        match runtime::block_on(select(receiving, stopped)) {
            Either::Left((loaded, _)) => Some(loaded),
            Either::Right(_) => None,
        }
    };
    let loaded = match first {
        Some(loaded) => loaded,
        None if server.node.is_loading() => return Ok(None),
        // It was just put in: what clients have written since is to be made durable.
        None => runtime::block_on(loaded.recv()),
    };
    let panicked = |_| system(io::Error::other("the thread that does it has panicked"));
    loaded.map_err(panicked)?.map(Some)
}

fn load_directory(server: &Arc<Server>, path: &Path, logger: &Logger) -> Result<OnDisk, StartError> {
    let config = &server.config;
    let disk = Arc::new(Directory::open(path)?);
    let clock = Arc::clone(server);
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let opening = Opening {
        name: config.name.clone(),
        node_id: NodeId(random()?),
        origin: Origin(random()?),
        settings: Arc::clone(&server.node.settings),
        max_drift_ms: config.max_clock_drift_ms,
        member_timeout_ms: config.member_timeout_ms,
        random: random_numbers(),
        now: Box::new(move || clock.mono_ms()),
        segment_bytes_max: config.log_segment,
        threads: threads.min(LOAD_THREADS_MAX),
        progress: Arc::clone(&server.progress),
    };
    let Opened { node, writer, snapshots, found } = open(Arc::clone(&disk), opening)?;
    tell_found(&found, server, logger);
    server.set_disk(disk);
    server.set_log_reader(SealedReader::new(writer.reader()));
    server.put(node);
    Ok((writer, snapshots))
}

/// Each thread that replays decodes all of the log: with very many more that would be most of the work.
const LOAD_THREADS_MAX: NonZeroUsize = NonZeroUsize::new(32).expect("it is not zero");

/// How often it is told how far the loading is.
const PROGRESS_CYCLE: Duration = Duration::from_secs(2);

async fn tell_progress(server: Arc<Server>, logger: Logger) {
    loop {
        async_std::task::sleep(PROGRESS_CYCLE).await;
        if !server.node.is_loading() || server.is_stopping() {
            return;
        }
        let progress = &server.progress;
        info!(logger, "loading"; "percent" => format!("{:.1}", progress.percent()),
            "bytes" => progress.loaded(), "of" => progress.total());
    }
}

fn tell_found(found: &Found, server: &Server, logger: &Logger) {
    if let Some(cut) = &found.log.cut {
        warn!(logger, "the log's torn end was cut; what peers have of it comes back from them";
            "file" => &cut.file, "offset" => cut.offset, "bytes" => cut.bytes);
    }
    if found.log_restarted {
        warn!(logger, "the log ended before its snapshot, and starts anew there";
            "ended" => found.log.end.0, "snapshot" => found.snapshot.as_ref().map(|found| found.header.replay.0));
    }
    if found.passed_over > 0 {
        info!(logger, "batches of a reconcile that was cut off were passed over"; "batches" => found.passed_over);
    }
    info!(logger, "snapshot and log are read";
        "snapshot_bytes" => found.snapshot.as_ref().map_or(0, |found| found.bytes),
        "batches" => found.log.batches,
        "ms" => server.mono_ms().0,
    );
}
