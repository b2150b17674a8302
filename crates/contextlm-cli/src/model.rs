//! Models on the command line: a directory, or a name on the Hugging Face hub.

use contextlm_weights::WeightsError;
use contextlm_weights::hub::{HubOptions, Snapshot, find};
use serde_json::Value;

/// The directory of a model; downloads it if it is a name, and says on stderr which commit it is.
pub(crate) fn directory(model: &str) -> Result<Snapshot, WeightsError> {
    let found = find(model, &HubOptions::from_env())?;
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
