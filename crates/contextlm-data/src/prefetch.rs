use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::{Batch, Batches, DataError};

/// Batches that are read ahead on a thread of their own, which holds plain integers and nothing else. It ends when this is
/// dropped, or after an error.
#[derive(Debug)]
pub struct Prefetch {
    batches: Receiver<Result<Batch, DataError>>,
}

impl Prefetch {
    /// The batches from `position` on, without end, `ahead` of them in advance.
    pub fn new(batches: Batches, position: u64, ahead: usize) -> Self {
        let (send, receive) = sync_channel(ahead);
        thread::spawn(move || {
            for position in position..=u64::MAX {
                let batch = batches.batch(position);
                let failed = batch.is_err();
                if send.send(batch).is_err() || failed {
                    break;
                }
            }
        });
        Self { batches: receive }
    }
}

impl Iterator for Prefetch {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.recv().ok()
    }
}
