//! Freeing what is large away from those who serve clients: to go through ten million elements takes seconds.

use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};

/// Frees something soon. What waits takes no more memory than it did before.
pub(super) fn drop_aside(what: impl Send + 'static) {
    static FREED: OnceLock<Option<Sender<Box<dyn Send>>>> = OnceLock::new();
    let freed = FREED.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Box<dyn Send>>();
        let thread = std::thread::Builder::new().name("freeing".to_owned());
        // Without a thread it is freed here.
        thread.spawn(move || receiver.into_iter().for_each(drop)).ok().map(|_| sender)
    });
    if let Some(sender) = freed {
        let _ = sender.send(Box::new(what));
    }
}
