use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::PrepareOptions;
use super::lock::LOCK;
use super::options::Fingerprint;
use super::reader::Position;
use super::side::{Side, Sides};
use super::writer::SetState;
use crate::shard_set::SHARDS_JSON;
use crate::{DataError, Tokenizer};

/// The file that says how far a preparation is.
pub(crate) const JOURNAL: &str = "prepare.json";

/// The folders of its sets.
pub(crate) const SETS: [&str; 2] = ["train", "valid"];

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
        let path = out.join(JOURNAL);
        new.refuse_own_inputs(out)?;
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
            if old.position == Position::default() {
                // Nothing is done yet, and an overwriting that was ended may have left old shards.
                remove_shards(out)?;
            }
            return Ok(old);
        }
        Self::refuse_folder(out, overwrite)?;
        // Before anything is removed: what is left of the old shards is then no whole set.
        new.write(out)?;
        if overwrite {
            remove_shards(out)?;
        }
        Ok(new)
    }

    /// Refuses a folder with something else in it, unless that may be overwritten.
    pub(super) fn refuse_folder(out: &Path, overwrite: bool) -> Result<(), DataError> {
        if overwrite || !out.exists() || out.join(JOURNAL).exists() {
            return Ok(());
        }
        let refused = |reason: &str| Err(DataError::Prepare { path: out.into(), reason: reason.into() });
        if out.join("train").join(SHARDS_JSON).exists() {
            return refused("has been prepared already; overwrite it, or write elsewhere");
        }
        let io_error = |source| DataError::Io { path: out.into(), source };
        for entry in fs::read_dir(out).map_err(io_error)? {
            if entry.map_err(io_error)?.file_name() != LOCK {
                return refused("is not empty; overwrite it, or write elsewhere");
            }
        }
        Ok(())
    }

    /// Refuses inputs that lie where shards are written, and removed.
    fn refuse_own_inputs(&self, out: &Path) -> Result<(), DataError> {
        for dir in SETS.map(|name| out.join(name)) {
            // What is not there has no inputs in it.
            let Ok(dir) = dir.canonicalize() else { continue };
            let own = |input: &&Input| input.path.canonicalize().is_ok_and(|path| path.starts_with(&dir));
            if let Some(input) = self.inputs.iter().find(own) {
                let reason = format!("is an input, but lies in {}, where shards are written", dir.display());
                return Err(DataError::Prepare { path: input.path.clone(), reason });
            }
        }
        Ok(())
    }

    pub(super) fn write(&self, out: &Path) -> Result<(), DataError> {
        write_json(&out.join(JOURNAL), self)
    }
}

/// Removes what a preparation writes to the folders of its sets, and nothing else.
fn remove_shards(out: &Path) -> Result<(), DataError> {
    for dir in SETS.map(|name| out.join(name)).iter().filter(|dir| dir.exists()) {
        let io_error = |source| DataError::Io { path: dir.clone(), source };
        for entry in fs::read_dir(dir).map_err(io_error)? {
            let path = entry.map_err(io_error)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let ours = [".bin", ".bin.partial"].iter().any(|end| name.ends_with(end))
                || [SHARDS_JSON, "shards.partial"].contains(&&*name);
            if ours && !path.is_dir() {
                fs::remove_file(&path).map_err(|source| DataError::Io { path: path.clone(), source })?;
            }
        }
    }
    Ok(())
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
