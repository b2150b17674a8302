use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use serde::{Deserialize, Serialize};

use super::Items;
use super::side::{Side, Sides};
use crate::{PrepareOptions, ReadOptions, read_documents};

/// Files that are read, decompressed and parsed at the same time, each on a thread.
const FILES_AT_ONCE: usize = 4;

/// Documents are handed over once they have this many bytes.
const PIECE_BYTES: usize = 512 << 10;

/// What an error counts beside texts, and what a document does beside its own.
const ERROR_BYTES: usize = 256;
const DOCUMENT_BYTES: usize = 64;

/// How far the documents were taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Files that are through.
    file: usize,
    /// Documents of the next one that were taken, bad ones included.
    items: u64,
}

/// The documents of all files in their order, while the next files are being read already.
///
/// Every file has a thread and a queue of its own, so that the order is that of the files, whichever is read first. At
/// most [`FILES_AT_ONCE`] files have three pieces each in memory.
pub(super) struct Reader<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    sides: &'env Sides,
    options: ReadOptions,
    /// Files that are not begun yet, with the documents to pass over.
    waiting: VecDeque<(PathBuf, Side, u64)>,
    /// Those that are, the front one is taken from.
    begun: VecDeque<Receiver<Items>>,
    position: Position,
}

impl<'scope, 'env> Reader<'scope, 'env> {
    pub(super) fn new(
        scope: &'scope Scope<'scope, 'env>,
        sides: &'env Sides,
        options: &PrepareOptions,
        position: Position,
    ) -> Self {
        let mut waiting: VecDeque<_> =
            sides.files().skip(position.file).map(|(path, side)| (path.clone(), side, 0)).collect();
        if let Some((_, _, skip)) = waiting.front_mut() {
            *skip = position.items;
        }
        let options =
            ReadOptions { key: options.key.clone(), part_bytes: options.part_bytes, ..ReadOptions::default() };
        Self { scope, sides, options, waiting, begun: VecDeque::new(), position }
    }

    /// The next documents of together `bytes` or just above; none at the end.
    pub(super) fn batch(&mut self, bytes: usize) -> Items {
        let (mut batch, mut found) = (Items::new(), 0);
        while found < bytes {
            self.begin_files();
            let Some(file) = self.begun.front() else { break };
            match file.recv() {
                Ok(piece) => {
                    self.position.items += piece.len() as u64;
                    found += piece.iter().map(|(_, item)| size(item)).sum::<usize>();
                    batch.extend(piece);
                }
                // Its thread has ended.
                Err(_) => {
                    self.begun.pop_front();
                    self.position = Position { file: self.position.file + 1, items: 0 };
                }
            }
        }
        batch
    }

    /// How far the batches so far have gone.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    fn begin_files(&mut self) {
        while self.begun.len() < FILES_AT_ONCE {
            let Some((path, side, skip)) = self.waiting.pop_front() else { break };
            let (send, receive) = sync_channel(2);
            let (sides, options) = (self.sides, self.options.clone());
            self.scope.spawn(move || read(path, side, skip, sides, &options, &send));
            self.begun.push_back(receive);
        }
    }
}

/// Sends the documents of a file until nobody takes them any more.
fn read(path: PathBuf, side: Side, skip: u64, sides: &Sides, options: &ReadOptions, send: &SyncSender<Items>) {
    let mut documents = match read_documents(&[path], options) {
        Ok(documents) => documents,
        Err(error) => {
            // Nobody to tell means that it has ended already.
            let _ = send.send(vec![(side, Err(error))]);
            return;
        }
    };
    let (mut piece, mut bytes) = (Items::new(), 0);
    documents.by_ref().take(usize::try_from(skip).unwrap_or(usize::MAX)).for_each(drop);
    while let Some(item) = documents.next() {
        bytes += size(&item);
        let side = item.as_ref().map_or(side, |document| sides.side_of(document, &documents, side));
        piece.push((side, item));
        if bytes >= PIECE_BYTES {
            bytes = 0;
            if send.send(std::mem::take(&mut piece)).is_err() {
                return;
            }
        }
    }
    if !piece.is_empty() {
        let _ = send.send(piece);
    }
}

/// About the memory of an item: what is no text counts too, a path and a reason, so that a batch of bad lines ends.
fn size(item: &Result<crate::Document, crate::DataError>) -> usize {
    item.as_ref().map_or(ERROR_BYTES, |document| DOCUMENT_BYTES + document.text.len())
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    #[test]
    fn four_files_are_read_at_once_and_come_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..6).map(|n| folder.path().join(format!("{n}.txt"))).collect();
        for (n, path) in paths.iter().enumerate() {
            fs::write(path, format!("file {n}")).unwrap();
        }
        let options = PrepareOptions::default();
        let sides = Sides::new(&paths, &options).unwrap();
        thread::scope(|scope| {
            let mut reader = Reader::new(scope, &sides, &options, Position::default());
            let text = |items: Items| items.into_iter().map(|(_, item)| item.unwrap().text).collect::<Vec<_>>();
            assert_eq!(text(reader.batch(1)), ["file 0"]);
            // Each has a thread of its own.
            assert_eq!((reader.begun.len(), reader.waiting.len()), (4, 2));
            assert_eq!(text(reader.batch(1 << 20)), ["file 1", "file 2", "file 3", "file 4", "file 5"]);
        });
    }

    #[test]
    fn bad_lines_are_handed_over_before_they_fill_the_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        fs::write(&path, "{}\n".repeat(50_000)).unwrap();
        let options = PrepareOptions::default();
        let sides = Sides::new(&[path], &options).unwrap();
        thread::scope(|scope| {
            let mut reader = Reader::new(scope, &sides, &options, Position::default());
            let mut batches = Vec::new();
            loop {
                match reader.batch(1 << 20).len() {
                    0 => break,
                    items => batches.push(items),
                }
            }
            assert_eq!(batches.iter().sum::<usize>(), 50_000);
            let most = ((1 << 20) + PIECE_BYTES) / ERROR_BYTES + 1;
            assert!(batches.iter().all(|items| *items <= most), "{batches:?}");
        });
    }
}
