//! Text files to token shards.

mod journal;
mod lock;
mod options;
mod reader;
mod side;
mod writer;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::prepare::journal::Journal;
pub(crate) use crate::prepare::journal::{JOURNAL, SETS};
pub use crate::prepare::options::{PrepareOptions, Prepared};
use crate::prepare::reader::Reader;
use crate::prepare::side::{Side, Sides};
use crate::prepare::writer::SetWriter;
use crate::shard_set::SHARDS_JSON;
use crate::{Counts, DataError, Document, ShardsInfo, Tokenizer};

/// Documents are encoded together once they have this many bytes, on all threads.
const BATCH_BYTES: usize = 4 << 20;

/// How far a preparation is written down at most so often, after a batch: what a kill costs.
const JOURNAL_EVERY: Duration = Duration::from_secs(1);

/// Messages about what was skipped that are kept.
const MAX_MESSAGES: usize = 10;

/// Documents, or why there is none, that are encoded together.
type Items = Vec<(Side, Result<Document, DataError>)>;

/// Turns text files into token shards: `out/train/000000.bin` and so on, and `out/valid` likewise, with a `shards.json` in
/// each. Every document is preceded by the end-of-text id; text that spells a special token is plain text.
///
/// Up to four files are read at the same time, and documents are encoded on all threads of rayon's pool; the result depends on
/// neither. Memory is that of a few batches of 4 MiB of text and of the longest documents, see
/// [`PrepareOptions::part_bytes`]. What was begun and not finished, be it that the process was killed, goes on where it was
/// last written down (about every second), if inputs, tokenizer and options are the same, and gives the same files.
///
/// `progress` is called about every 4 MiB of text; what it returns decides whether to go on.
///
/// # Errors
/// [`DataError::Prepare`] if `out` holds something else, was finished already or was begun with other inputs, or if an input
/// lies in `out/train` or `out/valid`, or if another process is writing to `out`;
/// [`DataError::Interrupted`] if `progress` says so; those of reading and encoding unless [`PrepareOptions::skip_bad`].
pub fn prepare(
    inputs: &[PathBuf],
    tokenizer: &Tokenizer,
    out: &Path,
    options: &PrepareOptions,
    mut progress: impl FnMut(&Counts) -> bool,
) -> Result<Prepared, DataError> {
    options.validate()?;
    let sides = Sides::new(inputs, options)?;
    let end_of_text = tokenizer.end_of_text()?;
    // Before the lock, which would be one file more in a folder of something else.
    Journal::refuse_folder(out, options.overwrite)?;
    let _lock = lock::lock(out)?;
    let mut journal = Journal::open(out, Journal::new(&sides, tokenizer, options)?, options.overwrite)?;
    let vocabulary = tokenizer.vocab_size();
    let [mut train, mut valid] = [
        SetWriter::open(out.join("train"), vocabulary, options.shard_tokens, &journal.train)?,
        SetWriter::open(out.join("valid"), vocabulary, options.shard_tokens, &journal.valid)?,
    ];

    let mut messages = Vec::new();
    let mut written = Instant::now();
    let done: Result<(), DataError> = thread::scope(|scope| {
        // Dropping it, when this closure ends, ends its threads.
        let mut reader = Reader::new(scope, &sides, options, journal.position);
        loop {
            let items = reader.batch(BATCH_BYTES);
            if items.is_empty() {
                return Ok(());
            }
            let mut good = Vec::new();
            for (side, item) in items {
                match item {
                    Ok(document) => good.push((side, document)),
                    Err(error) if options.skip_bad => {
                        journal.skipped += 1;
                        if messages.len() < MAX_MESSAGES {
                            messages.push(error.to_string());
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            let texts: Vec<&str> = good.iter().map(|(_, document)| &*document.text).collect();
            for ((side, document), ids) in good.iter().zip(tokenizer.encode_batch(&texts)?) {
                if ids.contains(&end_of_text) {
                    let (path, line) = (document.path.to_path_buf(), document.line);
                    return Err(DataError::EndOfTextInText { path, line, id: end_of_text });
                }
                let set = if *side == Side::Valid { &mut valid } else { &mut train };
                set.push(end_of_text, &ids, document.text.len() as u64)?;
            }
            let (a, b) = (train.counts(), valid.counts());
            let counts =
                Counts { documents: a.documents + b.documents, tokens: a.tokens + b.tokens, bytes: a.bytes + b.bytes };
            let go_on = progress(&counts);
            if written.elapsed() >= JOURNAL_EVERY || !go_on {
                (journal.train, journal.valid) = (train.state()?, valid.state()?);
                journal.position = reader.position();
                journal.write(out)?;
                written = Instant::now();
            }
            if !go_on {
                return Err(DataError::Interrupted { path: out.into() });
            }
        }
    });
    done?;

    let info = |set: SetWriter| -> Result<ShardsInfo, DataError> {
        let (dir, counts, shards) = set.finish()?;
        let info = ShardsInfo {
            tokenizer_sha256: tokenizer.sha256().to_string(),
            vocabulary,
            end_of_text,
            tokens: counts.tokens,
            documents: counts.documents,
            bytes: counts.bytes,
            shards,
        };
        journal::write_json(&dir.join(SHARDS_JSON), &info)?;
        Ok(info)
    };
    // The one of `train` last: it says that all is there.
    let valid = info(valid)?;
    let train = info(train)?;
    let path = out.join(JOURNAL);
    fs::remove_file(&path).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(DataError::Io { path, source: error }),
    })?;
    Ok(Prepared { train, valid, skipped: journal.skipped, messages })
}

#[cfg(test)]
mod tests;
