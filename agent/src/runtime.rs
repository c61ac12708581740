//! The executor: all tasks run on the thread that also waits for the sockets.
//!
//! async-std's own pool hands each event from the thread that waits to one that works, which costs two futex calls and a
//! context switch each; an agent has not enough to do for that. Its sockets, timers and channels are those of async-std.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;

use async_executor::{Executor, Task};
use async_std::channel;

static EXECUTOR: Executor<'static> = Executor::new();

/// Runs a task beside others, while some thread is in [`block_on`]. Dropping what is returned ends the task.
pub(crate) fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
    EXECUTOR.spawn(future)
}

/// Runs a future to its end, and all tasks meanwhile.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    async_io::block_on(EXECUTOR.run(future))
}

/// Looks up `HOST:PORT`. Names are asked for on a thread of their own: the system's lookup blocks, and async-std's way
/// around that would start its pool.
pub(crate) async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    let (sender, found) = channel::bounded(1);
    let address = address.to_owned();
    thread::Builder::new().name("lookup".into()).spawn(move || {
        let _ = sender.try_send(address.to_socket_addrs().map(Iterator::collect));
    })?;
    found.recv().await.map_err(|_| io::Error::other("the lookup failed"))?
}
