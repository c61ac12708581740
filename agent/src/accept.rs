//! Takes connections of peers, and turns other HTTP requests away.

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

/// The session that new links belong to, while there is one.
pub(crate) type CurrentSession = Arc<Mutex<Option<Arc<Session>>>>;

/// Accepts connections for the agent's life.
pub(crate) async fn run(listener: TcpListener, current: CurrentSession, logger: Logger) {
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
        let (current, logger) = (current.clone(), logger.clone());
        let serving = runtime::spawn(async move {
            serve(stream, address, &current, &logger).await;
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

async fn serve(mut stream: TcpStream, address: SocketAddr, current: &CurrentSession, logger: &Logger) {
    let _ = stream.set_nodelay(true);
    let Ok(Some(head)) = async_std::future::timeout(HEAD_TIME_MAX, read_head(&mut stream)).await else {
        debug!(logger, "a connection sent no request"; "address" => %address);
        return;
    };
    let session = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (answer, session) = match (judge(&head), session) {
        (Verdict::Link { key, length }, Some(session)) => (Answer::Upgrade { key, length }, Some(session)),
        (Verdict::Link { .. }, None) => {
            (Answer::Refusal("503 Service Unavailable", "this agent's node is away\n"), None)
        }
        (Verdict::Refused(status, text), _) => (Answer::Refusal(status, text), None),
    };
    match (answer, session) {
        (Answer::Upgrade { key, length }, Some(session)) => {
            let rest = head[length..].to_vec();
            if let Ok(socket) = upgrade(stream, &key, rest).await {
                let start = LinkStart { address: address.to_string(), dialled: None };
                driver::run(socket, start, session).await;
            }
        }
        (Answer::Refusal(status, text), _) => {
            info!(logger, "a request is turned away"; "address" => %address, "status" => status);
            let _ = async_std::future::timeout(HEAD_TIME_MAX, refuse(&mut stream, status, text)).await;
        }
        (Answer::Upgrade { .. }, None) => unreachable!("an upgrade has a session"),
    }
}

enum Answer {
    Upgrade { key: String, length: usize },
    Refusal(&'static str, &'static str),
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
enum Verdict {
    Link { key: String, length: usize },
    Refused(&'static str, &'static str),
}

fn judge(bytes: &[u8]) -> Verdict {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else {
        return Verdict::Refused("400 Bad Request", "this is no request that an agent understands\n");
    };
    if request.path.map(|path| path.split('?').next()) != Some(Some(PATH)) {
        return Verdict::Refused("404 Not Found", "an agent has links at /link, and nothing else\n");
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
        _ => Verdict::Refused("426 Upgrade Required", "links of agents are WebSockets\n"),
    }
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

async fn refuse(stream: &mut TcpStream, status: &str, text: &str) -> std::io::Result<()> {
    let response = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nUpgrade: websocket\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{text}",
        text.len()
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
