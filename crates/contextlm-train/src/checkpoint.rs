//! Checkpoints: all that a run needs to go on as if it had not stopped.

mod digest;
mod folder;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use contextlm_core::{AnyBackbone, ContextLmConfig, Device};
use contextlm_weights::{SaveOptions, load, save};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use folder::{Checkpoint, CheckpointFolder, Damaged};

use crate::checkpoint::digest::sha256;
use crate::optimizer::OptimizerState;
use crate::{TrainConfig, TrainError, TrainProgress, Trainer};

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
    /// [`TrainError::ConfigChanged`] if the settings are others, unless that is allowed; [`TrainError::Checkpoint`] for what
    /// is damaged; [`TrainError::Weights`].
    pub fn resume(
        checkpoint: &Checkpoint,
        config: TrainConfig,
        allow_config_change: bool,
        device: &Device,
    ) -> Result<(Self, ContextLmConfig), TrainError> {
        let dir = checkpoint.path();
        let state = read_state(dir)?;
        if !allow_config_change {
            let keys = differing_keys(&serde_json::json!(state.config), &serde_json::json!(config));
            if !keys.is_empty() {
                return Err(TrainError::ConfigChanged { path: dir.into(), keys: keys.join(", ") });
            }
        }
        let loaded = load(dir, device)?;
        let optimizer = OptimizerState { tensors: read_tensors(&dir.join(OPTIMIZER))?, counts: state.optimizer_counts };
        let mut trainer = Self::new(loaded.model, config)?;
        trainer.restore(optimizer, state.progress, dir)?;
        Ok((trainer, loaded.config))
    }
}

fn read_state(dir: &Path) -> Result<State, TrainError> {
    let path = dir.join(STATE);
    let wrong = |reason: String| TrainError::Checkpoint { path: path.clone(), reason };
    let text = fs::read_to_string(&path).map_err(TrainError::io(&path))?;
    let state: State = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if state.format != FORMAT {
        return Err(wrong(format!("format {}, but this program reads {FORMAT}", state.format)));
    }
    Ok(state)
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

/// Checks every file of a checkpoint against its digest.
///
/// # Errors
/// What is wrong, in words.
fn verify(dir: &Path) -> Result<(), String> {
    let state = read_state(dir).map_err(|error| error.to_string())?;
    for (name, expected) in &state.sha256 {
        let path: PathBuf = dir.join(name);
        let found = sha256(&path).map_err(|error| error.to_string())?;
        if found != *expected {
            return Err(format!("{name} is not what was written: sha256 {found}, not {expected}"));
        }
    }
    if !state.sha256.contains_key(OPTIMIZER) {
        return Err(format!("{STATE} does not name {OPTIMIZER}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
