//! Models on the command line: a directory, or a name on the Hugging Face hub.

use std::path::Path;

use contextlm_core::Device;
use contextlm_weights::hub::{HubOptions, Snapshot, find};
use contextlm_weights::{LoadOptions, Loaded, WeightsError};
use serde_json::Value;

use crate::dtype::Dtype;
use crate::output::Busy;

/// The directory of a model; downloads it if it is a name, and says on stderr which commit it is.
pub(crate) fn directory(model: &str) -> Result<Snapshot, WeightsError> {
    found(model, &HubOptions::from_env())
}

/// The same of which only the config is needed.
pub(crate) fn directory_of_config(model: &str) -> Result<Snapshot, WeightsError> {
    let mut options = HubOptions::from_env();
    options.config_only = true;
    found(model, &options)
}

fn found(model: &str, options: &HubOptions) -> Result<Snapshot, WeightsError> {
    let found = find(model, options)?;
    if let Some(model) = &found.model {
        match &found.offline {
            Some(reason) => eprintln!("{model}, from the cache: {reason}"),
            None => eprintln!("{model}"),
        }
    }
    Ok(found)
}

/// `model` in the JSON of a verb: what was given, a name with its commit as the revision.
pub(crate) fn named(found: &Snapshot) -> Value {
    match &found.model {
        Some(model) => model.to_string().into(),
        None => found.dir.to_string_lossy().into(),
    }
}

/// Reads a model, with its parameters in this type.
pub(crate) fn load(dir: &Path, device: &Device, dtype: Dtype) -> Result<Loaded, WeightsError> {
    let mut options = LoadOptions::default();
    options.dtype = dtype.into();
    load_with(dir, device, &options)
}

/// Reads a model as the options say; warns of values with which it will hardly work.
pub(crate) fn load_with(dir: &Path, device: &Device, options: &LoadOptions) -> Result<Loaded, WeightsError> {
    let _busy = Busy::new(format!("reading {}", dir.display()));
    let loaded = contextlm_weights::load_with(dir, device, options)?;
    if loaded.not_finite > 0 {
        eprintln!("warning: {} values in {} are infinite or no number", loaded.not_finite, dir.display());
    }
    Ok(loaded)
}
