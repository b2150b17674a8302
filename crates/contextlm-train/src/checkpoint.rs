//! Checkpoints: all that a run needs to go on as if it had not stopped.

mod digest;
mod folder;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use contextlm_core::{AnyBackbone, ContextLmConfig, Device};
use contextlm_weights::{SaveOptions, load, save};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use folder::{Checkpoint, CheckpointFolder, Damaged};

use crate::as_read::as_read;
use crate::checkpoint::digest::sha256;
use crate::optimizer::OptimizerState;
use crate::{TrainConfig, TrainError, TrainProgress, Trainer, TrainingSet};

const STATE: &str = "state.json";
const OPTIMIZER: &str = "optimizer.safetensors";
const DONE: &str = "DONE";
const FORMAT: u32 = 1;

/// The content of `state.json`.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// Of this file.
    format: u32,
    progress: TrainProgress,
    config: TrainConfig,
    /// What was trained on, where that is known.
    #[serde(default)]
    training_set: Option<TrainingSet>,
    /// Steps that the optimizer has made with each parameter.
    optimizer_counts: BTreeMap<String, u64>,
    /// SHA-256 of every other file but `DONE`.
    sha256: BTreeMap<String, String>,
}

impl Trainer<AnyBackbone> {
    /// Writes a checkpoint: a model directory in f32, the optimizer's state, `state.json` with the digest of every file, and
    /// last of all an empty `DONE`. The tokenizer is copied from the directory `companions`. It is written beside `dir` and renamed, so that it is there whole or not at all.
    ///
    /// # Errors
    /// [`TrainError::File`] or [`TrainError::Weights`] naming the file.
    pub fn save_checkpoint(
        &self,
        config: &ContextLmConfig,
        dir: impl AsRef<Path>,
        companions: Option<&Path>,
    ) -> Result<(), TrainError> {
        let dir = dir.as_ref();
        let partial = folder::partial(dir);
        let written = self.write_checkpoint(config, &partial, companions).and_then(|()| folder::finish(&partial, dir));
        if written.is_err() {
            // Half a checkpoint is of no use, least of all on a disk that is full. If this fails too, the next one overwrites it.
            let _ = fs::remove_dir_all(&partial);
        }
        written
    }

    /// Writes all but `DONE`.
    fn write_checkpoint(
        &self,
        config: &ContextLmConfig,
        partial: &Path,
        companions: Option<&Path>,
    ) -> Result<(), TrainError> {
        let companions = companions.map(Path::to_path_buf);
        let options = SaveOptions { overwrite: true, companions, ..SaveOptions::default() };
        save(self.model(), config, partial, &options)?;
        let state = self.optimizer_state();
        write_tensors(&partial.join(OPTIMIZER), &state.tensors)?;

        let mut digests = BTreeMap::new();
        for entry in fs::read_dir(partial).map_err(TrainError::io(partial))? {
            let entry = entry.map_err(TrainError::io(partial))?;
            digests.insert(entry.file_name().to_string_lossy().into_owned(), sha256(&entry.path())?);
        }
        let state = State {
            format: FORMAT,
            progress: *self.progress(),
            config: self.config().clone(),
            training_set: self.training_set().cloned(),
            optimizer_counts: state.counts,
            sha256: digests,
        };
        let text = serde_json::to_string_pretty(&state).map_err(std::io::Error::from);
        let path = partial.join(STATE);
        text.and_then(|text| fs::write(&path, text)).map_err(TrainError::io(&path))
    }

    /// Goes on from a checkpoint, on a device with autodiff: the next steps are those that the run would have made that
    /// wrote it.
    ///
    /// # Errors
    /// [`TrainError::ConfigChanged`] if the settings are others, unless that is allowed; [`TrainError::Config`] for another
    /// optimizer, whose state is not there; [`TrainError::Checkpoint`] for what is damaged; [`TrainError::Weights`].
    pub fn resume(
        checkpoint: &Checkpoint,
        config: TrainConfig,
        allow_config_change: bool,
        device: &Device,
    ) -> Result<(Self, ContextLmConfig), TrainError> {
        let dir = checkpoint.path();
        let damaged = |reason: String| TrainError::Checkpoint { path: dir.join(STATE), reason };
        let state = read_state(dir)?.map_err(damaged)?;
        if !allow_config_change {
            let new = as_read(&config).map_err(|error| damaged(error.to_string()))?;
            let keys = differing_keys(&serde_json::json!(state.config), &new);
            if !keys.is_empty() {
                return Err(TrainError::ConfigChanged { path: dir.into(), keys: keys.join(", ") });
            }
        }
        let (old, new) = (state.config.optimizer.name, config.optimizer.name);
        if old != new {
            let (old, new) = (serde_json::json!(old), serde_json::json!(new));
            let fix = format!(
                "{} has the state of {old}; put it back, or begin a run of its own with model.path = that directory",
                dir.display()
            );
            return Err(TrainError::config("optimizer.name", new, &fix));
        }
        let loaded = load(dir, device)?;
        let optimizer = OptimizerState { tensors: read_tensors(&dir.join(OPTIMIZER))?, counts: state.optimizer_counts };
        let mut trainer = Self::new(loaded.model, config)?;
        trainer.restore(optimizer, state.progress, dir)?;
        if let Some(training_set) = state.training_set {
            trainer = trainer.with_training_set(training_set);
        }
        Ok((trainer, loaded.config))
    }
}

/// What `state.json` says, or in words why it is damaged. Not damaged is what cannot be read now, and what another version
/// has written: those are errors.
fn read_state(dir: &Path) -> Result<Result<State, String>, TrainError> {
    let path = dir.join(STATE);
    let text = match fs::read_to_string(&path) {
        Err(error) if is_damage(&error) => return Ok(Err(format!("{STATE}: {error}"))),
        text => text.map_err(TrainError::io(&path))?,
    };
    let wrong = |error: serde_json::Error| format!("{STATE}: {error}");
    let value: Value = match serde_json::from_str(&text) {
        Err(error) => return Ok(Err(wrong(error))),
        Ok(value) => value,
    };
    match value["format"].as_u64() {
        Some(format) if format != u64::from(FORMAT) => {
            let reason = format!("format {format}, but this program reads {FORMAT}; resume with the one that wrote it");
            Err(TrainError::Checkpoint { path, reason })
        }
        _ => Ok(serde_json::from_value(value).map_err(wrong)),
    }
}

/// Whether an error tells that a file is not what was written, rather than that it cannot be read now.
fn is_damage(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData)
}

/// The keys in which two settings differ, such as `optimizer.lr`.
pub(crate) fn differing_keys(old: &Value, new: &Value) -> Vec<String> {
    fn walk(path: &str, old: &Value, new: &Value, keys: &mut Vec<String>) {
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => {
                let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
                for name in names {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(&path, old.get(name).unwrap_or(&Value::Null), new.get(name).unwrap_or(&Value::Null), keys);
                }
            }
            (old, new) if old == new => {}
            (old, new) => keys.push(format!("{path}: {old} -> {new}")),
        }
    }
    let mut keys = Vec::new();
    walk("", old, new, &mut keys);
    keys
}

fn write_tensors(path: &Path, tensors: &BTreeMap<String, TensorData>) -> Result<(), TrainError> {
    let wrong = |reason: String| TrainError::Checkpoint { path: path.into(), reason };
    let mut views = Vec::new();
    for (name, data) in tensors {
        if data.dtype() != burn::tensor::DType::F32 {
            return Err(wrong(format!("{name} is {:?}, but states are f32", data.dtype())));
        }
        let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes());
        views.push((name, view.map_err(|error| wrong(error.to_string()))?));
    }
    safetensors::serialize_to_file(views, None, path).map_err(|error| wrong(error.to_string()))?;
    File::open(path).and_then(|file| file.sync_all()).map_err(TrainError::io(path))
}

fn read_tensors(path: &Path) -> Result<BTreeMap<String, TensorData>, TrainError> {
    let wrong = |reason: String| TrainError::Checkpoint { path: path.into(), reason };
    let bytes = fs::read(path).map_err(TrainError::io(path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(wrong(format!("{name} is {:?}, but states are f32", view.dtype())));
        }
        let words = view.data().as_chunks::<4>().0.iter();
        let values: Vec<f32> = words.map(|word| f32::from_le_bytes(*word)).collect();
        tensors.insert(name.to_string(), TensorData::new(values, view.shape().to_vec()));
    }
    Ok(tensors)
}

/// Checks every file of a checkpoint against its digest; what is damaged, in words.
///
/// # Errors
/// [`TrainError::File`] for what cannot be read; [`TrainError::Checkpoint`] for another version's format.
fn verify(dir: &Path) -> Result<Option<String>, TrainError> {
    let state = match read_state(dir)? {
        Ok(state) => state,
        Err(reason) => return Ok(Some(reason)),
    };
    for (name, expected) in &state.sha256 {
        let path: PathBuf = dir.join(name);
        match sha256(&path) {
            Ok(found) if found == *expected => {}
            Ok(found) => {
                return Ok(Some(format!("{name} is not what was written: sha256 {found}, not {expected}")));
            }
            Err(TrainError::File { source, .. }) if is_damage(&source) => {
                return Ok(Some(format!("{name}: {source}")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((!state.sha256.contains_key(OPTIMIZER)).then(|| format!("{STATE} does not name {OPTIMIZER}")))
}

#[cfg(test)]
mod tests;
