use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::PrepareOptions;
use super::options::Fingerprint;
use super::reader::Position;
use super::side::{Side, Sides};
use super::writer::SetState;
use crate::shard_set::SHARDS_JSON;
use crate::{DataError, Tokenizer};

/// The file that says how far a preparation is.
pub(super) const JOURNAL: &str = "prepare.json";

/// What a preparation is made of, and how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Journal {
    inputs: Vec<Input>,
    tokenizer_sha256: String,
    options: Fingerprint,
    pub(super) position: Position,
    pub(super) skipped: u64,
    pub(super) train: SetState,
    pub(super) valid: SetState,
}

/// A file as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Input {
    path: PathBuf,
    held_out: bool,
    bytes: u64,
    /// Nanoseconds since 1970.
    modified: u128,
}

impl Journal {
    pub(super) fn new(sides: &Sides, tokenizer: &Tokenizer, options: &PrepareOptions) -> Result<Self, DataError> {
        let input = |(path, held_out): (&PathBuf, bool)| {
            let io_error = |source| DataError::Io { path: path.clone(), source };
            let about = fs::metadata(path).map_err(io_error)?;
            let modified = about.modified().map_err(io_error)?;
            let modified = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
            Ok(Input { path: path.clone(), held_out, bytes: about.len(), modified })
        };
        let inputs = sides.files().map(|(path, side)| input((path, side == Side::Valid)));
        Ok(Self {
            inputs: inputs.collect::<Result<_, DataError>>()?,
            tokenizer_sha256: tokenizer.sha256().to_string(),
            options: options.fingerprint(),
            position: Position::default(),
            skipped: 0,
            train: SetState::default(),
            valid: SetState::default(),
        })
    }

    /// The journal in `out`, if it is of the same work, else the new one, for which `out` must have no files.
    pub(super) fn open(out: &Path, new: Self, overwrite: bool) -> Result<Self, DataError> {
        let refused = |reason: &str| DataError::Prepare { path: out.into(), reason: reason.into() };
        let io_error = |source| DataError::Io { path: out.into(), source };
        let path = out.join(JOURNAL);
        if !overwrite && path.exists() {
            let text = fs::read_to_string(&path).map_err(|source| DataError::Io { path: path.clone(), source })?;
            let old: Self = serde_json::from_str(&text)
                .map_err(|error| DataError::Prepare { path, reason: format!("cannot be read: {error}") })?;
            let begun = new.clone();
            let same = Self {
                inputs: old.inputs.clone(),
                tokenizer_sha256: old.tokenizer_sha256.clone(),
                options: old.options.clone(),
                ..begun
            };
            if same != new {
                return Err(refused(
                    "was begun with other inputs, another tokenizer or other options; overwrite it, or write elsewhere",
                ));
            }
            return Ok(old);
        }
        if !overwrite && out.join("train").join(SHARDS_JSON).exists() {
            return Err(refused("has been prepared already; overwrite it, or write elsewhere"));
        }
        if overwrite {
            // What a preparation writes, and nothing else.
            for name in ["train", "valid"] {
                let dir = out.join(name);
                if dir.exists() {
                    fs::remove_dir_all(&dir).map_err(|source| DataError::Io { path: dir, source })?;
                }
            }
        } else if out.exists() && fs::read_dir(out).map_err(io_error)?.next().is_some() {
            return Err(refused("is not empty; overwrite it, or write elsewhere"));
        }
        fs::create_dir_all(out).map_err(io_error)?;
        new.write(out)?;
        Ok(new)
    }

    pub(super) fn write(&self, out: &Path) -> Result<(), DataError> {
        write_json(&out.join(JOURNAL), self)
    }
}

/// Writes a file whole or not at all.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), DataError> {
    let partial = path.with_extension("partial");
    let write = || {
        let text = serde_json::to_string_pretty(value)?;
        let mut file = File::create(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(|source| DataError::Io { path: path.into(), source })
}
