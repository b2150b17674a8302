use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// What a call gives, on a thread of its own; `None` if it takes longer than `limit` without any progress, or panics.
///
/// hf-hub sets no limits of time. A thread that still waits at the end of the program ends with it.
pub(super) fn wait<T: Send + 'static>(
    limit: Duration,
    progress: impl Fn() -> u64,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || send.send(call()));
    let mut before = progress();
    loop {
        match receive.recv_timeout(limit) {
            Ok(value) => return Some(value),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {
                let now = progress();
                if now == before {
                    return None;
                }
                before = now;
            }
        }
    }
}
