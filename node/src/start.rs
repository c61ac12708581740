//! Starts a node: binds its addresses, loads its directory, runs its threads, and stops them in order.

mod load;

use std::io;
use std::net::ToSocketAddrs;
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_std::net::TcpListener;
use async_std::os::unix::net::UnixListener;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use shared::clock::{HybridClock, Timestamp};
use shared::id::{GroupId, NodeId, Origin};
use shared::time::MonoMillis;
use shared::version::Frontier;
use slog::{Logger, error, info, o, warn};

use crate::client::Address;
use crate::config::Config;
use crate::descriptors;
use crate::evictor;
use crate::follow::{Socket, serve};
use crate::group::{Group, Own};
use crate::loading::NodePlace;
use crate::log::disk::DirectoryError;
use crate::log::index::{LogIndex, STRIDE_BYTES};
use crate::log::segment::LogPosition;
use crate::log::{Retention, Start};
use crate::maintainer;
use crate::membership::Membership;
use crate::node::{Belongings, Node, Random};
use crate::open::OpenError;
use crate::reaper;
use crate::runtime;
use crate::server::{Parts, Server, Stopped, wall_clock};
use crate::settings::Settings;
use crate::snapshots;
use crate::store::Store;
use crate::store::origins::TooManyOrigins;
use crate::worker::{Inbox, Worker};

use self::load::{OnDisk, load};

/// Connections that became streams of the feed and are not yet taken over by the runtime.
const HANDOVERS_MAX: usize = 256;

/// How often the clock's ceiling is looked after.
const CEILING_CYCLE: Duration = Duration::from_millis(250);

/// Why the node does not start. Nothing was changed but for what the message says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    TooManyOrigins(#[from] TooManyOrigins),
    #[error("cannot listen on {address}: {error}")]
    Bind { address: String, error: io::Error },
    #[error("no randomness from the operating system: {0}")]
    Random(getrandom::Error),
    #[error("cannot {what}: {error}")]
    System { what: &'static str, error: io::Error },
}

/// Runs a node until it is told to stop. Returns why it stopped.
pub(crate) fn run(config: Config, logger: &Logger) -> Result<Stopped, StartError> {
    let (sender, streams) = async_std::channel::bounded(HANDOVERS_MAX);
    let server = Arc::new(new_server(config, sender, logger)?);
    make_room_for_clients(&server, logger);
    let listeners = runtime::block_on(listen(&server))?;
    let workers = start_workers(&server, logger)?;
    accept_all(&server, listeners, logger);
    let (on_disk, outcome) = match load(&server, logger) {
        Ok(on_disk) => {
            let on_disk = on_disk.map(|on_disk| spawn_disk_threads(&server, on_disk, logger));
            (on_disk, run_loaded(&server, streams, logger))
        }
        Err(problem) => (None, Err(problem)),
    };
    if outcome.is_err() {
        server.stop(Stopped::Failed);
    }

    info!(logger, "node is stopping");
    for worker in workers {
        // A worker that panicked has said so on standard error; the rest is stopped in order all the same.
        let _ = worker.join();
    }
    // A snapshot that is being written is cut off; then the log's last writes go to disk.
    let writer = on_disk.map(|(writer, snapshots)| {
        let _ = snapshots.join();
        writer
    });
    server.node.log.stop(server.mono_us());
    if let Some(writer) = writer {
        let _ = writer.join();
    }
    if let Some(path) = server.unix_path() {
        let _ = std::fs::remove_file(path);
    }
    info!(logger, "node has stopped");
    outcome.map(|()| server.stopped().unwrap_or(Stopped::Asked))
}

/// What serves clients, with the node in it or, if that has a directory, a stand-in.
fn new_server(
    config: Config,
    streams: async_std::channel::Sender<crate::follow::Handover>,
    logger: &Logger,
) -> Result<Server, StartError> {
    let settings = Arc::new(Settings::new(config.initial));
    let node =
        memory_node(&config, settings, Origin(random()?), NodeId(random()?), random_numbers(), STARTED)?;
    let node = if config.dir.is_some() { NodePlace::awaiting(node) } else { NodePlace::of(node) };
    let mut run_id = [0; 20];
    getrandom::fill(&mut run_id).map_err(StartError::Random)?;
    let run_id = run_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let started = wall_clock();
    Ok(Server::new(Parts { node, config, logger: logger.clone(), run_id, streams, started }))
}

fn start_workers(server: &Arc<Server>, logger: &Logger) -> Result<Vec<JoinHandle<()>>, StartError> {
    let system = |error| StartError::System { what: "start a worker", error };
    let (mut handles, mut inboxes) = (Vec::new(), Vec::new());
    for index in 0..server.config.threads {
        let (worker, inbox) = Worker::new(logger.new(o!("worker" => index))).map_err(system)?;
        inboxes.push(inbox);
        let server = Arc::clone(server);
        let run = move || worker.run(&server);
        handles.push(std::thread::Builder::new().name(format!("worker-{index}")).spawn(run).map_err(system)?);
    }
    server.set_workers(inboxes);
    Ok(handles)
}

/// Runs the node, which is there now, until it is stopped.
fn run_loaded(
    server: &Arc<Server>,
    streams: async_std::channel::Receiver<crate::follow::Handover>,
    logger: &Logger,
) -> Result<(), StartError> {
    if server.is_stopping() {
        return Ok(());
    }
    spawn_caretakers(server, logger).map_err(|error| StartError::System { what: "start a thread", error })?;
    tell_ready(server, logger);
    runtime::block_on(serve_streams(server, streams, logger));
    Ok(())
}

fn tell_ready(server: &Server, logger: &Logger) {
    info!(logger, "node is ready";
        "name" => server.identity().name,
        "node_id" => %server.identity().node_id,
        "origin" => %server.node.log.origin(),
        "addresses" => ?server.addresses.get(),
        "unix" => ?server.unix_path(),
        "frontier" => %server.node.log.standing(wall_clock()).0,
    );
}

fn spawn_disk_threads(
    server: &Arc<Server>,
    (writer, snapshots): OnDisk,
    logger: &Logger,
) -> (JoinHandle<()>, JoinHandle<()>) {
    let (of_writer, writer_logger) = (Arc::clone(server), logger.clone());
    let writer = std::thread::spawn(move || {
        // Clients that wrote under `always` wait for this, even if the setting was changed meanwhile.
        let progressed = || of_writer.wake_workers();
        let node = &of_writer.node;
        writer.run(&node.log, || node.settings.fsync(), progressed, &writer_logger);
    });
    let (of_snapshots, logger) = (Arc::clone(server), logger.clone());
    (writer, std::thread::spawn(move || snapshots::run(snapshots, &of_snapshots, &logger)))
}

/// Starts what is done a few times a second, whether or not there are clients. Each has a thread of its own: they wait
/// for locks and disks, and a task of the runtime would wake three threads at every turn of theirs.
fn spawn_caretakers(server: &Arc<Server>, logger: &Logger) -> io::Result<()> {
    type Caretaker = fn(&Server, &Logger);
    let caretakers: [(&str, Caretaker); 4] = [
        ("maintainer", maintainer::run),
        ("reaper", reaper::run),
        ("evictor", evictor::run),
        ("ceiling", keep_ceiling),
    ];
    for (name, run) in caretakers {
        let (server, logger) = (Arc::clone(server), logger.clone());
        std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&server, &logger))?;
    }
    Ok(())
}

fn make_room_for_clients(server: &Server, logger: &Logger) {
    let settings = &server.node.settings;
    if let Err(permitted) = descriptors::make_room(settings.max_clients()) {
        warn!(logger, "the system permits fewer open files than clients were to be served (ulimit -n)";
            "max_clients" => settings.max_clients(), "served" => permitted);
        settings.set_max_clients(permitted);
    }
}

/// A number other than zero, which means none.
pub(crate) fn random() -> Result<u64, StartError> {
    loop {
        let number = getrandom::u64().map_err(StartError::Random)?;
        if number != 0 {
            return Ok(number);
        }
    }
}

/// The node's monotonic clock starts with it.
const STARTED: MonoMillis = MonoMillis(0);

fn random_numbers() -> Random {
    Box::new(|| getrandom::u64().expect("the system had randomness when the node was started"))
}

/// A node that keeps nothing on disk.
pub(crate) fn memory_node(
    config: &Config,
    settings: Arc<Settings>,
    origin: Origin,
    node_id: NodeId,
    random: Random,
    started: MonoMillis,
) -> Result<Node, TooManyOrigins> {
    /// Few enough that a stride is a small part of what is kept: an origin counts as dropped from one as soon as
    /// its first batch there is.
    const STRIDES: usize = 256;
    let stride =
        NonZeroU64::new((config.log_memory / STRIDES) as u64).unwrap_or(NonZeroU64::MIN).min(STRIDE_BYTES);
    let start = Start {
        origin,
        clock: HybridClock::new(Timestamp::ZERO, Timestamp::MAX),
        keep_ceiling: None,
        frontier: Frontier::new(),
        end: LogPosition::default(),
        index: LogIndex::new(stride),
        retention: Retention::Memory { bytes_max: config.log_memory },
        max_drift_ms: config.max_clock_drift_ms,
    };
    let own = Own {
        node_id,
        name: config.name.clone(),
        origin,
        role: settings.role(),
        group: None,
        group_id: GroupId::default(),
    };
    let group = Group::new(own, None, config.member_timeout_ms, started);
    let membership = Membership::new(group, Box::new(|_, _| Ok(())));
    Node::new(Store::new(), start, settings, Belongings { membership, random, started })
}

struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
}

async fn listen(server: &Server) -> Result<Listeners, StartError> {
    let config = &server.config;
    let mut tcp = Vec::new();
    let mut addresses = Vec::new();
    for host in config.bind.iter().filter(|_| config.port != 0 || config.unix.is_none()) {
        let failed = |error| StartError::Bind { address: format!("{host}:{}", config.port), error };
        let address = (&**host, config.port).to_socket_addrs().map_err(failed)?.next();
        let address = address.ok_or_else(|| failed(io::Error::other("the name has no address")))?;
        let listener = bind_tcp(address).map_err(failed)?;
        addresses.push(listener.local_addr().map_err(failed)?);
        tcp.push(listener);
    }
    assert!(server.addresses.set(addresses).is_ok(), "addresses are set once");
    let unix = match &config.unix {
        None => None,
        Some(path) => Some(
            bind_unix(path)
                .await
                .map_err(|error| StartError::Bind { address: path.display().to_string(), error })?,
        ),
    };
    Ok(Listeners { tcp, unix })
}

/// As Redis's `tcp-backlog`: bursts of new clients wait here.
const BACKLOG: i32 = 511;

fn bind_tcp(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(std::net::TcpListener::from(socket).into())
}

/// A socket file that nobody answers at is left from a crash, and replaced.
async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers at this socket"));
        }
        if !std::os::unix::fs::FileTypeExt::is_socket(&std::fs::symlink_metadata(path)?.file_type()) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file which is no socket"));
        }
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path).await
}

/// Accepts clients, and looks after signals.
fn accept_all(server: &Arc<Server>, listeners: Listeners, logger: &Logger) {
    for listener in listeners.tcp {
        runtime::spawn(accept_tcp(Arc::clone(server), listener, logger.clone()));
    }
    if let Some(listener) = listeners.unix {
        runtime::spawn(accept_unix(Arc::clone(server), listener, logger.clone()));
    }
    runtime::spawn(stop_on_signal(Arc::clone(server), logger.clone()));
}

/// Serves streams of the feed, until the node stops.
async fn serve_streams(
    server: &Arc<Server>,
    streams: async_std::channel::Receiver<crate::follow::Handover>,
    logger: &Logger,
) {
    let (for_streams, stream_logger) = (Arc::clone(server), logger.clone());
    runtime::spawn(async move {
        while let Ok(handover) = streams.recv().await {
            runtime::spawn(serve(Arc::clone(&for_streams), handover, stream_logger.clone()));
        }
    });
    let stopped = server.stop_listener();
    if !server.is_stopping() {
        stopped.await;
    }
}

async fn accept_tcp(server: Arc<Server>, listener: TcpListener, logger: Logger) {
    loop {
        match listener.accept().await {
            Ok((socket, remote)) => {
                let accepted = std::net::TcpStream::try_from(socket).and_then(|socket| {
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                    let socket = socket2::Socket::from(socket);
                    if let Some(idle) = server.node.settings.tcp_keepalive() {
                        let probes = socket2::TcpKeepalive::new().with_time(idle).with_interval(idle / 3);
                        socket.set_tcp_keepalive(&probes)?;
                    }
                    let socket = std::net::TcpStream::from(socket);
                    let local = socket.local_addr()?;
                    Ok((Socket::Tcp(socket), Address::Tcp { remote, local }))
                });
                place(&server, accepted, &logger);
            }
            Err(error) => accept_failed(&error, &logger).await,
        }
    }
}

async fn accept_unix(server: Arc<Server>, listener: UnixListener, logger: Logger) {
    let path = server.unix_path().map(|path| path.display().to_string()).unwrap_or_default();
    let mut incoming = listener.incoming();
    while let Some(accepted) = incoming.next().await {
        match accepted {
            Ok(socket) => {
                let accepted = to_std_unix(&socket)
                    .map(|socket| (Socket::Unix(socket), Address::Unix { path: path.clone() }));
                place(&server, accepted, &logger);
            }
            Err(error) => accept_failed(&error, &logger).await,
        }
    }
}

/// The runtime's Unix stream gives its descriptor away only by copy.
fn to_std_unix(socket: &async_std::os::unix::net::UnixStream) -> io::Result<std::os::unix::net::UnixStream> {
    use std::os::fd::AsFd;
    let socket = std::os::unix::net::UnixStream::from(socket.as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Out of descriptors, as a rule: the listener is left alone for a moment, so that the loop does not spin.
async fn accept_failed(error: &io::Error, logger: &Logger) {
    warn!(logger, "cannot accept a client"; "error" => %error);
    async_std::task::sleep(Duration::from_millis(100)).await;
}

/// Gives a new client to the worker with the fewest, or turns it away.
fn place(server: &Server, accepted: io::Result<(Socket, Address)>, logger: &Logger) {
    crate::node::count(&server.stats.connections_received, 1);
    let (socket, address) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => return warn!(logger, "a client went before it was served"; "error" => %error),
    };
    if server.clients.count() >= server.node.settings.max_clients() {
        crate::node::count(&server.stats.connections_rejected, 1);
        turn_away(socket);
        return;
    }
    let descriptor = match &socket {
        Socket::Tcp(socket) => socket.as_raw_fd(),
        Socket::Unix(socket) => socket.as_raw_fd(),
    };
    let workers: &[Arc<Inbox>] = server.workers();
    let worker = server.clients.next_worker(workers.len());
    let record = server.clients.connect(address, worker, descriptor, wall_clock());
    workers[worker].accept(socket, record);
}

fn turn_away(socket: Socket) {
    use std::io::Write;
    let text = b"-ERR max number of clients reached\r\n";
    // Whether it reads this or not, it is disconnected.
    let _ = match socket {
        Socket::Tcp(mut socket) => socket.write(text),
        Socket::Unix(mut socket) => socket.write(text),
    };
}

fn keep_ceiling(server: &Server, logger: &Logger) {
    while !server.is_stopping() {
        if let Err(problem) = server.node.log.keep_ceiling_ahead(wall_clock()) {
            error!(logger, "the clock's ceiling cannot be raised"; "error" => %problem);
        }
        std::thread::sleep(CEILING_CYCLE);
    }
}

async fn stop_on_signal(server: Arc<Server>, logger: Logger) {
    use async_signal::{Signal, Signals};
    let mut signals = match Signals::new([Signal::Int, Signal::Term]) {
        Ok(signals) => signals,
        Err(error) => return error!(logger, "signals cannot be received"; "error" => %error),
    };
    if let Either::Left((Some(Ok(signal)), _)) = select(signals.next(), server.stop_listener()).await {
        info!(logger, "signal received"; "signal" => ?signal);
        server.shutdown();
    }
}
