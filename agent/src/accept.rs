//! Takes connections of peers, and tells load balancers whether to send clients to this host.
//!
//! ```text
//! /link                   a peer's WebSocket
//! /livez                  200 while the agent runs
//! /readyz[?max-lag=MS]    200 while the node is there, has caught up, takes what its role lets it take, and lies behind no
//!                         linked peer by more milliseconds than that; else 503, and the text says why
//! ```

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_std::io::{ReadExt, WriteExt};
use async_std::net::{TcpListener, TcpStream};
use async_std::task;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::Role;
use slog::{Logger, debug, info, warn};

use crate::driver;
use crate::node_client::{NodeAddress, NodeClient, NodeError};
use crate::runtime;
use crate::session::{LinkStart, Session};
use crate::socket::{self, Metered, PATH, Socket};

/// The longest head of a request, in bytes; a longer one is turned away.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// The most headers of a request; one with more is turned away.
const HEADERS_MAX: usize = 64;

/// A request must be whole after this, or its connection is closed.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// The most connections at a time; further ones are closed at once.
pub(crate) const CONNECTIONS_MAX: usize = 1_024;

/// How long to wait when the system has no connection to give: out of file descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the node may take to say whether it is ready.
const READY_TIME_MAX: Duration = Duration::from_secs(2);

/// The session that new links belong to, while there is one.
pub(crate) type CurrentSession = Arc<Mutex<Option<Arc<Session>>>>;

/// What is behind the address that an agent listens at.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) node: NodeAddress,
    pub(crate) current: CurrentSession,
    pub(crate) logger: Logger,
}

/// Accepts connections for the agent's life.
pub(crate) async fn run(listener: TcpListener, door: Door) {
    let logger = &door.logger;
    let count = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(logger, "cannot accept a connection"; "error" => %error);
                task::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = Place::take(&count);
        if place.count > CONNECTIONS_MAX {
            warn!(logger, "too many connections, closing the newest"; "address" => %address, "limit" => CONNECTIONS_MAX);
            continue;
        }
        let door = door.clone();
        let serving = runtime::spawn(async move {
            door.serve(stream, address).await;
            drop(place);
        });
        serving.detach();
    }
}

/// One of the connections that are counted.
struct Place {
    counter: Arc<AtomicUsize>,
    /// How many there are with this one.
    count: usize,
}

impl Place {
    fn take(counter: &Arc<AtomicUsize>) -> Self {
        Self { count: counter.fetch_add(1, Ordering::Relaxed) + 1, counter: counter.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Door {
    async fn serve(&self, mut stream: TcpStream, address: SocketAddr) {
        let logger = &self.logger;
        let _ = stream.set_nodelay(true);
        let Ok(Some(head)) = async_std::future::timeout(HEAD_TIME_MAX, read_head(&mut stream)).await else {
            debug!(logger, "a connection sent no request"; "address" => %address);
            return;
        };
        let response = match judge(&head) {
            Verdict::Link { key, length } => match self.session() {
                Some(session) => {
                    if let Ok(socket) = upgrade(stream, &key, head[length..].to_vec()).await {
                        let start = LinkStart { address: address.to_string(), dialled: None, removed: None };
                        driver::run(socket, start, session).await;
                    }
                    return;
                }
                None => Response::unavailable("this agent's node is away"),
            },
            Verdict::Live => Response { status: OK, text: "the agent runs".to_owned() },
            Verdict::Ready { max_lag } => self.readiness(max_lag).await,
            Verdict::Refused(status, text) => {
                info!(logger, "a request is turned away"; "address" => %address, "status" => status);
                Response { status, text: text.to_owned() }
            }
        };
        debug!(logger, "a request is answered"; "address" => %address, "status" => response.status,
            "text" => &response.text);
        let _ = async_std::future::timeout(HEAD_TIME_MAX, respond(&mut stream, &response)).await;
    }

    fn session(&self) -> Option<Arc<Session>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the node, each time anew: it knows best.
    async fn readiness(&self, max_lag: Option<&str>) -> Response {
        let asking = async {
            let mut client = NodeClient::connect(&self.node).await?;
            let words = [Some(&b"READY"[..]), max_lag.map(str::as_bytes)];
            client.command(&words.into_iter().flatten().collect::<Vec<_>>()).await
        };
        match async_std::future::timeout(READY_TIME_MAX, asking).await {
            Ok(Ok(_)) if self.session().is_some() => Response { status: OK, text: "ready".to_owned() },
            Ok(Ok(_)) => Response::unavailable("this agent is just beginning to serve its node"),
            Ok(Err(NodeError::Refused(_, text))) => Response::unavailable(&text),
            Ok(Err(error)) => Response::unavailable(&error.to_string()),
            Err(_) => Response::unavailable("the node does not answer"),
        }
    }
}

const OK: &str = "200 OK";

/// An answer that makes no link.
struct Response {
    status: &'static str,
    text: String,
}

impl Response {
    fn unavailable(text: &str) -> Self {
        Self { status: "503 Service Unavailable", text: text.to_owned() }
    }
}

/// Reads until the empty line; more than the head may have come with it.
async fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        let searched = head.len().saturating_sub(3);
        head.extend_from_slice(&buffer[..count]);
        if head[searched..].windows(4).any(|window| window == b"\r\n\r\n") || head.len() >= HEAD_BYTES_MAX {
            return Some(head);
        }
    }
}

/// What a request comes to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict<'h> {
    Link { key: String, length: usize },
    Live,
    Ready { max_lag: Option<&'h str> },
    Refused(&'static str, &'static str),
}

fn judge(bytes: &[u8]) -> Verdict<'_> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else {
        return Verdict::Refused("400 Bad Request", "this is no request that an agent understands");
    };
    let target = request.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_read = matches!(request.method, Some("GET" | "HEAD"));
    match path {
        PATH => {}
        "/livez" if is_read => return Verdict::Live,
        "/readyz" if is_read => return judge_ready(query),
        "/livez" | "/readyz" => return Verdict::Refused("405 Method Not Allowed", "ask with GET"),
        _ => return Verdict::Refused("404 Not Found", "an agent has /link, /livez and /readyz"),
    }
    let header = |name: &str| {
        let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let has_token = |name: &str, token: &str| {
        header(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    let is_upgrade = request.method == Some("GET")
        && has_token("connection", "upgrade")
        && has_token("upgrade", "websocket")
        && header("sec-websocket-version") == Some("13");
    match header("sec-websocket-key") {
        Some(key) if is_upgrade => Verdict::Link { key: key.to_owned(), length },
        _ => Verdict::Refused("426 Upgrade Required", "links of agents are WebSockets"),
    }
}

fn judge_ready(query: &str) -> Verdict<'_> {
    let mut max_lag = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("max-lag", ms)) if ms.parse::<u64>().is_ok() => max_lag = Some(ms),
            _ => {
                return Verdict::Refused(
                    "400 Bad Request",
                    "/readyz takes max-lag=MILLISECONDS, and nothing else",
                );
            }
        }
    }
    Verdict::Ready { max_lag }
}

async fn upgrade(mut stream: TcpStream, key: &str, rest: Vec<u8>) -> std::io::Result<Socket> {
    let accept = derive_accept_key(key.as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(response.as_bytes()).await?;
    let config = Some(socket::config());
    Ok(WebSocketStream::from_partially_read(Metered::new(stream), rest, Role::Server, config).await)
}

async fn respond(stream: &mut TcpStream, response: &Response) -> std::io::Result<()> {
    let Response { status, text } = response;
    let upgrade = if status.starts_with("426") { "Upgrade: websocket\r\n" } else { "" };
    let response = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\n{upgrade}Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n\
         {text}\n",
        text.len() + 1
    );
    stream.write_all(response.as_bytes()).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "GET /link HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                           Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: abc\r\n\r\n";

    #[track_caller]
    fn check(request: &str, status: &str) {
        match judge(request.as_bytes()) {
            Verdict::Refused(refused, _) => assert_eq!(refused, status),
            Verdict::Link { .. } => assert_eq!("101", status),
            Verdict::Live | Verdict::Ready { .. } => assert_eq!(OK, status),
        }
    }

    #[test]
    fn requests_are_told_apart() {
        check(UPGRADE, "101");
        check("GET / HTTP/1.1\r\n\r\n", "404 Not Found");
        check("GET /link HTTP/1.1\r\n\r\n", "426 Upgrade Required");
        check(&UPGRADE.replace("GET", "POST"), "426 Upgrade Required");
        check(&UPGRADE.replace("13", "8"), "426 Upgrade Required");
        check(&UPGRADE.replace("/link", "/linked"), "404 Not Found");
        check("GET /livez HTTP/1.0\r\n\r\n", OK);
        check("HEAD /readyz HTTP/1.1\r\n\r\n", OK);
        check("GET /readyz?max-lag=500 HTTP/1.1\r\n\r\n", OK);
        check("GET /readyz?max-lag=soon HTTP/1.1\r\n\r\n", "400 Bad Request");
        check("GET /readyz?maxlag=5 HTTP/1.1\r\n\r\n", "400 Bad Request");
        check("POST /readyz HTTP/1.1\r\n\r\n", "405 Method Not Allowed");
        check("\u{1}\u{2}\r\n\r\n", "400 Bad Request");
        check("GET /link HTTP/1.1\r\n", "400 Bad Request");
    }

    #[test]
    fn what_follows_the_head_belongs_to_the_link() {
        let Verdict::Link { key, length } = judge(format!("{UPGRADE}frame").as_bytes()) else {
            panic!("no link")
        };
        assert_eq!((key.as_str(), length), ("abc", UPGRADE.len()));
    }
}
