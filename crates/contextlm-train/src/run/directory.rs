use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{RunConfig, RunOptions};
use crate::checkpoint::differing_keys;
use crate::record::{ABOUT, CONFIG, METRICS};
use crate::{About, History, RunSession, TrainError, ValidLine, ValidationSet};

const LOCK: &str = "run.lock";

/// The directory of a run, which no other process uses as long as this exists.
pub(super) struct RunDirectory {
    path: PathBuf,
    /// Settings that differ from those that the run was begun with, as they are allowed to.
    changed: Vec<String>,
    _lock: File,
}

impl RunDirectory {
    /// Takes a directory: an empty one, or with `resume` that of a run with the same settings.
    pub(super) fn open(path: &Path, config: &RunConfig, options: &RunOptions) -> Result<Self, TrainError> {
        let refused = |reason: String| TrainError::Directory { path: path.into(), reason };
        fs::create_dir_all(path).map_err(TrainError::io(path))?;
        let lock = path.join(LOCK);
        let file =
            File::options().create(true).truncate(false).write(true).open(&lock).map_err(TrainError::io(&lock))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(refused("another process is training in it".into())),
            Err(TryLockError::Error(error)) => return Err(TrainError::io(&lock)(error)),
        }
        let mut others = fs::read_dir(path).map_err(TrainError::io(path))?.filter_map(Result::ok);
        if !options.resume && others.any(|entry| entry.file_name() != LOCK) {
            return Err(refused("is not empty; resume the run in it, or choose another checkpoint.dir".into()));
        }
        let settings = path.join(CONFIG);
        let mut keys = Vec::new();
        if options.resume && settings.exists() {
            let old = fs::read_to_string(&settings).map_err(TrainError::io(&settings))?;
            keys = differing_keys(&RunConfig::decisive(&old), &RunConfig::decisive(&config.to_toml()?));
            let model: Vec<_> = keys.iter().filter(|key| key.starts_with("model")).cloned().collect();
            if options.allow_config_change && !model.is_empty() {
                return Err(refused(format!(
                    "a run keeps its model, but the settings have changed: {}; put them back, or choose another \
                     checkpoint.dir",
                    model.join(", ")
                )));
            }
            if !options.allow_config_change && !keys.is_empty() {
                return Err(TrainError::ConfigChanged { path: settings, keys: keys.join(", ") });
            }
        }
        Ok(Self { path: path.into(), changed: keys, _lock: file })
    }

    /// Whether losses on this set can stand beside those that are there: the same text, cut into the same rows.
    ///
    /// # Errors
    /// [`TrainError::ConfigChanged`] where they cannot and that is not allowed.
    pub(super) fn same_validation(
        &self,
        validation: Option<&ValidationSet>,
        options: &RunOptions,
    ) -> Result<bool, TrainError> {
        let path = self.path.join(ABOUT);
        let Some(about) = About::read(&path)? else { return Ok(true) };
        let before = about.validation.as_ref();
        if before != validation && !options.allow_config_change {
            let text = |set: Option<&ValidationSet>| {
                set.map_or("none".into(), |set| format!("{} tokens with sha256 {}", set.tokens, set.sha256))
            };
            let keys = format!("data.valid: {} -> {}", text(before), text(validation));
            return Err(TrainError::ConfigChanged { path, keys });
        }
        let rows = |key: &String| key.starts_with("data.sequence_length:") || key.starts_with("data.packing:");
        Ok(before == validation && !self.changed.iter().any(rows))
    }

    /// Writes the settings, and takes back the metrics of steps that are going to be made again, and those of validations
    /// that are not to be kept.
    pub(super) fn begin(&self, config: &RunConfig, step: usize, keep_valid: bool) -> Result<(), TrainError> {
        let path = self.path.join(CONFIG);
        let partial = path.with_extension("partial");
        fs::write(&partial, config.to_toml()?).map_err(TrainError::io(&partial))?;
        fs::rename(&partial, &path).map_err(TrainError::io(&path))?;
        let path = self.path.join(METRICS);
        if path.exists() {
            let text = fs::read_to_string(&path).map_err(TrainError::io(&path))?;
            let made = |line: &&str| {
                let line: Option<Value> = serde_json::from_str(line).ok();
                let kept = |line: &Value| keep_valid || line.get("valid_loss").is_none();
                line.filter(kept).and_then(|line| line["step"].as_u64()).is_some_and(|at| at <= step as u64)
            };
            let kept: String = text.lines().filter(made).map(|line| format!("{line}\n")).collect();
            let partial = path.with_extension("partial");
            fs::write(&partial, kept).and_then(|()| fs::rename(&partial, &path)).map_err(TrainError::io(&path))?;
        }
        Ok(())
    }

    /// Writes what is trained and what with, after what earlier processes have written of theirs.
    pub(super) fn about(&self, mut about: About, session: RunSession) -> Result<(), TrainError> {
        let path = self.path.join(ABOUT);
        about.sessions = About::read(&path)?.map_or_else(Vec::new, |before| before.sessions);
        // A run that was killed before its first checkpoint begins anew.
        about.sessions.retain(|before| before.from_step < session.from_step);
        about.sessions.push(session);
        about.write(&path)
    }

    /// Every validation so far.
    pub(super) fn validations(&self) -> Result<Vec<ValidLine>, TrainError> {
        let path = self.path.join(METRICS);
        if path.exists() { Ok(History::read(&path)?.valid) } else { Ok(Vec::new()) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
