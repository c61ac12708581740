//! The agent's side of its control socket.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_std::io::{ReadExt, WriteExt};
use async_std::os::unix::net::{UnixListener, UnixStream};
use async_std::task;
use shared::feed::{LinkReport, VerifyState, VerifyStatus};
use shared::id::NodeId;
use slog::{Logger, info, warn};

use super::{DiallingRequest, NodeRequest, REQUEST_BYTES_MAX, Request, Response};
use crate::dial::PeerSyntax;
use crate::node_client::{NodeAddress, NodeClient, NodeError};
use crate::peers::{Peers, PeersError};
use crate::record::Ledger;
use crate::runtime;

/// A question must be whole after this.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// How often the node is asked how far it is.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Every how many of these that is passed on.
const POLLS_PER_PROGRESS: u32 = 5;

/// How long to wait when the system has no connection to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The socket, for the agent's life; its file goes with it.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Begins to listen. Only the owner may connect. A socket that a killed agent left is replaced.
    pub(crate) async fn bind(path: &Path) -> io::Result<Self> {
        if BlockingStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        remove_socket(path);
        let listener = UnixListener::bind(path).await?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers questions, until it is dropped.
    pub(crate) async fn serve(self, desk: OperatorDesk) {
        let logger = &desk.logger;
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(logger, "cannot accept a connection to the control socket"; "error" => %error);
                    task::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let asked = Asked { stream, desk: desk.clone() };
            runtime::spawn(asked.serve()).detach();
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        remove_socket(&self.path);
    }
}

/// Removes a socket, and nothing else that was named by mistake.
fn remove_socket(path: &Path) {
    use std::os::unix::fs::FileTypeExt;
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        let _ = std::fs::remove_file(path);
    }
}

/// Why a question is not answered.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// Who asked is gone, and hears nothing of it.
    #[error("the connection is lost: {0}")]
    Lost(#[from] io::Error),
    #[error("not a question that this agent understands: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("{0}")]
    Node(#[from] NodeError),
    #[error("no linked peer is called {0:?}; see tandem-agent members")]
    NoSuchPeer(String),
    #[error("no peer is linked")]
    NoPeer,
    #[error("{0}")]
    Address(#[from] PeerSyntax),
    #[error("{0}")]
    Peers(#[from] PeersError),
}

/// What operators' questions are answered from.
#[derive(Clone, Debug)]
pub(crate) struct OperatorDesk {
    pub(crate) node: NodeAddress,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) peers: Peers,
    pub(crate) logger: Logger,
}

/// One connection, for one question.
struct Asked {
    stream: UnixStream,
    desk: OperatorDesk,
}

impl Asked {
    async fn serve(mut self) {
        if let Err(trouble) = self.answer().await {
            info!(self.desk.logger, "a question over the control socket is not answered"; "error" => %trouble);
            let _ = self.say(&Response::Error { error: trouble.to_string() }).await;
        }
    }

    async fn answer(&mut self) -> Result<(), Trouble> {
        let reading = async_std::future::timeout(REQUEST_TIME_MAX, self.read_line());
        let line = reading.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let request: Request = serde_json::from_slice(&line)?;
        info!(self.desk.logger, "an operator asks"; "request" => ?request);
        match request {
            Request::Dialling(request) => self.dial(request).await,
            Request::Node(request) => self.ask_node(request).await,
        }
    }

    async fn dial(&mut self, request: DiallingRequest) -> Result<(), Trouble> {
        match request {
            DiallingRequest::Peers => {}
            DiallingRequest::AddPeer { url } => self.desk.peers.add(&url.parse()?)?,
            DiallingRequest::RemovePeer { url } => self.desk.peers.remove(&url.parse()?)?,
        }
        self.tell_peers().await
    }

    /// The peers that are dialled. One that has dialled this agent is linked all the same.
    async fn tell_peers(&mut self) -> Result<(), Trouble> {
        let linked: Vec<_> = self.linked(None).unwrap_or_default();
        let row = |peer: LinkReport| {
            let is_up = peer.up || linked.iter().any(|(_, node_id)| *node_id == peer.node_id);
            serde_json::json!({
                "url": peer.address,
                "name": peer.name,
                "state": if is_up { "up" } else { "down" },
                "error": if is_up { "" } else { &peer.error },
            })
        };
        let result = self.desk.peers.reports().into_iter().map(row).collect();
        self.say(&Response::Result { result }).await?;
        Ok(())
    }

    async fn ask_node(&mut self, request: NodeRequest) -> Result<(), Trouble> {
        let mut client = NodeClient::connect(&self.desk.node).await?;
        match request {
            NodeRequest::Members => self.pass_on(&mut client, &[b"MEMBERS"]).await,
            NodeRequest::Forget { name } => self.pass_on(&mut client, &[b"FORGET", name.as_bytes()]).await,
            NodeRequest::Reissue { force: false } => self.pass_on(&mut client, &[b"REISSUE"]).await,
            NodeRequest::Reissue { force: true } => self.pass_on(&mut client, &[b"REISSUE", b"FORCE"]).await,
            NodeRequest::Verify { peer, deep } => {
                let depth: &[u8] = if deep { b"deep" } else { b"shallow" };
                self.compare(&mut client, peer.as_deref(), b"VERIFY", &[depth]).await
            }
            NodeRequest::Repair { peer } => self.compare(&mut client, peer.as_deref(), b"REPAIR", &[]).await,
        }
    }

    async fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            let count = self.stream.read(&mut buffer).await?;
            line.extend_from_slice(&buffer[..count]);
            if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                line.truncate(end);
                return Ok(line);
            }
            if count == 0 {
                return Ok(line);
            }
            if line.len() > REQUEST_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }

    async fn pass_on(&mut self, client: &mut NodeClient, words: &[&[u8]]) -> Result<(), Trouble> {
        let text = client.command(words).await?;
        // A status is text as it stands.
        let result = serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
        self.say(&Response::Result { result }).await?;
        Ok(())
    }

    /// Has the node compare itself with linked peers, one by one.
    async fn compare(
        &mut self,
        client: &mut NodeClient,
        peer: Option<&str>,
        command: &[u8],
        how: &[&[u8]],
    ) -> Result<(), Trouble> {
        for (name, node_id) in self.linked(peer)? {
            let id = node_id.to_string();
            let words: Vec<&[u8]> = [command, id.as_bytes()].into_iter().chain(how.iter().copied()).collect();
            client.command(&words).await?;
            let status = self.follow(client, &name, &id).await?;
            self.say(&Response::Compared { peer: name, status }).await?;
        }
        Ok(())
    }

    /// Asks how far the node is, until it is done.
    async fn follow(
        &mut self,
        client: &mut NodeClient,
        peer: &str,
        id: &str,
    ) -> Result<VerifyStatus, Trouble> {
        let mut polls = 0;
        loop {
            let text = client.command(&[b"VERIFIED", id.as_bytes()]).await?;
            let status: VerifyStatus = serde_json::from_str(&text)?;
            if status.state == VerifyState::Done {
                return Ok(status);
            }
            polls += 1;
            if polls % POLLS_PER_PROGRESS == 0 {
                self.say(&Response::Progress { peer: peer.to_owned(), status }).await?;
            }
            task::sleep(POLL_INTERVAL).await;
        }
    }

    /// The linked peers, or the one of that name.
    fn linked(&self, name: Option<&str>) -> Result<Vec<(String, NodeId)>, Trouble> {
        let reports = self.desk.ledger.lock().unwrap_or_else(PoisonError::into_inner).reports();
        let linked = reports.into_iter().filter(|link| link.up && name.is_none_or(|name| link.name == name));
        let linked: Vec<_> = linked.map(|link| (link.name, link.node_id)).collect();
        match name {
            _ if !linked.is_empty() => Ok(linked),
            Some(name) => Err(Trouble::NoSuchPeer(name.to_owned())),
            None => Err(Trouble::NoPeer),
        }
    }

    async fn say(&mut self, response: &Response) -> io::Result<()> {
        let mut line = serde_json::to_vec(response).map_err(io::Error::other)?;
        line.push(b'\n');
        self.stream.write_all(&line).await
    }
}
