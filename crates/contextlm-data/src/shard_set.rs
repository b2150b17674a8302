use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::prepare::{JOURNAL, SETS};
use crate::shard::Shard;

/// The file beside the shards of a set.
pub(crate) const SHARDS_JSON: &str = "shards.json";

/// What `shards.json` says of the shards beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShardsInfo {
    /// SHA-256 of the tokenizer's file.
    pub tokenizer_sha256: String,
    /// One more than its largest id.
    pub vocabulary: usize,
    /// The id before every document.
    pub end_of_text: u32,
    /// Tokens, the end-of-text ids included.
    pub tokens: u64,
    /// Documents.
    pub documents: u64,
    /// Bytes of their text in UTF-8.
    pub bytes: u64,
    /// The files, in order.
    pub shards: Vec<ShardInfo>,
}

/// One file of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShardInfo {
    /// Its name.
    pub file: String,
    /// Its tokens.
    pub tokens: u64,
    /// SHA-256 of the whole file.
    pub sha256: String,
}

/// A folder of token shards, read as one stream.
///
/// Only what is asked for is read, and it is copied: a map of the file needs `unsafe`, and ends the process where another
/// program shortens the file.
#[derive(Debug)]
pub struct ShardSet {
    shards: Vec<Shard>,
    /// Tokens before each shard.
    starts: Vec<usize>,
    tokens: usize,
    info: Option<ShardsInfo>,
}

impl ShardSet {
    /// Opens the shards that `shards.json` names, or without one all `.bin` files in the order of their names (as of llm.c
    /// and modded-nanogpt), for a model of `vocabulary` tokens. Every token is looked at.
    ///
    /// # Errors
    /// [`DataError::Shard`] for a set that a preparation has not finished, a wrong header, a length that does not fit it, or a token beyond the vocabulary;
    /// [`DataError::Io`].
    pub fn open(dir: impl AsRef<Path>, vocabulary: usize) -> Result<Self, DataError> {
        let dir = dir.as_ref();
        refuse_unfinished(dir)?;
        let info = read_info(dir)?;
        let paths = match &info {
            Some(info) => info.shards.iter().map(|shard| dir.join(&shard.file)).collect(),
            None => bin_files(dir)?,
        };
        let shards = paths.iter().map(|path| Shard::open(path)).collect::<Result<Vec<_>, _>>()?;
        if shards.is_empty() {
            return Err(DataError::Shard { path: dir.into(), reason: "there are no token shards (.bin) in it".into() });
        }
        shards.par_iter().try_for_each(|shard| match shard.first_beyond(vocabulary)? {
            None => Ok(()),
            Some((at, token)) => {
                let reason = format!("token {token} at {at}, but the model has {vocabulary}; is it its own tokenizer?");
                Err(DataError::Shard { path: shard.path.clone(), reason })
            }
        })?;
        let mut tokens = 0;
        let mut starts = Vec::new();
        for shard in &shards {
            starts.push(tokens);
            tokens += shard.tokens;
        }
        Ok(Self { shards, starts, tokens, info })
    }

    /// What `shards.json` says, if there is one.
    pub fn info(&self) -> Option<&ShardsInfo> {
        self.info.as_ref()
    }

    /// Tokens of all shards.
    pub fn len(&self) -> usize {
        self.tokens
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tokens == 0
    }

    /// `count` tokens from `start` on, across the borders of shards; fewer at the end.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn read(&self, start: usize, count: usize) -> Result<Vec<u32>, DataError> {
        let end = self.tokens.min(start.saturating_add(count));
        let mut tokens = vec![0; end.saturating_sub(start)];
        let mut done = 0;
        while done < tokens.len() {
            let at = start + done;
            let number = self.starts.partition_point(|&first| first <= at) - 1;
            let (shard, first) = (&self.shards[number], self.starts[number]);
            let here = (first + shard.tokens - at).min(tokens.len() - done);
            shard.read(at - first, &mut tokens[done..done + here])?;
            done += here;
        }
        Ok(tokens)
    }
}

/// `shards.json`, if it is there. It names files of its own folder only.
pub(crate) fn read_info(dir: &Path) -> Result<Option<ShardsInfo>, DataError> {
    let path = dir.join(SHARDS_JSON);
    if !path.exists() {
        return Ok(None);
    }
    let wrong = |reason: String| DataError::Shard { path: path.clone(), reason };
    let text = fs::read_to_string(&path).map_err(|source| DataError::Io { path: path.clone(), source })?;
    let info: ShardsInfo = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    for ShardInfo { file, .. } in &info.shards {
        if Path::new(file).file_name() != Some(file.as_ref()) {
            return Err(wrong(format!("file = {file:?}: must be the name of a file in the same folder")));
        }
    }
    Ok(Some(info))
}

/// Refuses a set that is being written, or was not written to its end: some of the text would be missing.
fn refuse_unfinished(dir: &Path) -> Result<(), DataError> {
    let io_error = |source| DataError::Io { path: dir.into(), source };
    let whole = dir.canonicalize().map_err(io_error)?;
    let mut signs = Vec::new();
    if whole.file_name().is_some_and(|name| SETS.iter().any(|set| *set == name)) {
        signs.extend(whole.parent().map(|out| out.join(JOURNAL)).filter(|journal| journal.exists()));
    }
    for entry in fs::read_dir(&whole).map_err(io_error)? {
        let path = entry.map_err(io_error)?.path();
        signs.extend(Some(path).filter(|path| path.extension().is_some_and(|extension| extension == "partial")));
    }
    match signs.first() {
        None => Ok(()),
        Some(sign) => {
            let reason = format!(
                "this set is not finished, as {} is there; call contextlm prepare again, which goes on",
                sign.display()
            );
            Err(DataError::Shard { path: dir.into(), reason })
        }
    }
}

fn bin_files(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let io_error = |source| DataError::Io { path: dir.into(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error)? {
        let path = entry.map_err(io_error)?.path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
