//! The executor of all that is not a client's command: one thread, which also waits for the sockets.
//!
//! async-std's own pool hands each event from the thread that waits to one that works, which costs a sealed batch some
//! microseconds on its way to its followers. Sockets, timers and channels are those of async-std.

use std::future::Future;

use async_executor::Executor;

static EXECUTOR: Executor<'static> = Executor::new();

/// Runs a task beside others, while some thread is in [`block_on`].
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    EXECUTOR.spawn(future).detach();
}

/// Runs a future to its end, and all tasks meanwhile.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    async_io::block_on(EXECUTOR.run(future))
}

/// Runs what blocks on a thread of its own. async-std's way of it would start its pool, whose threads are woken each time.
pub(crate) async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    blocking::unblock(work).await
}
