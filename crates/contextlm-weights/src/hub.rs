//! Models and files of data sets from the Hugging Face hub, by way of its cache on this machine.

mod dataset;
mod fetch;
mod model;
mod name;
mod options;
mod remote;
mod transfer;
mod wait;

use std::path::{Path, PathBuf};

use hf_hub::RepoType;

pub use dataset::{DatasetFiles, find_dataset};
pub use name::{HubName, HubNameError};
pub use options::HubOptions;

use crate::WeightsError;
use crate::files::check_directory;
use remote::Remote;

/// A model directory, and what it is a copy of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The directory, to [`load`](crate::load) from.
    pub dir: PathBuf,
    /// The hub's name of the model, with the commit that `dir` holds as its revision; `None` of a directory of one's own.
    pub model: Option<HubName>,
    /// Why the cache was used without asking the hub, if it was.
    pub offline: Option<String>,
}

/// The directory of a model that is named by a path or by the hub's `org/name[@revision]`; the latter is downloaded into
/// the cache as far as it is not there yet.
///
/// What exists as a path is a path. A revision is a branch, a tag or a commit, `main` if it is not given. Only
/// `config.json`, the tokenizer's files and safetensors are ever fetched. A download that broke off goes on where it was.
/// Where the hub cannot be reached (which takes [`HubOptions::patience`], 8 seconds, at most to find out), a snapshot in
/// the cache is used, if there is a whole one.
///
/// # Errors
/// [`WeightsError::Hub`] naming the model and what to do; [`WeightsError::File`] if the name is neither a directory nor
/// one that the hub could have.
pub fn find(model: &str, options: &HubOptions) -> Result<Snapshot, WeightsError> {
    let path = Path::new(model);
    if path.exists() {
        check_directory(path)?;
        return Ok(Snapshot { dir: path.into(), model: None, offline: None });
    }
    let Ok(name) = model.parse::<HubName>() else {
        let reason = "there is no such directory, and a model of the hub is called org/name or org/name@revision";
        return Err(WeightsError::file(path, reason));
    };
    let remote = Remote { kind: RepoType::Model, name: &name, options };
    if options.offline {
        let reason = "HF_HUB_OFFLINE is set".to_string();
        return model::cached(&remote, reason.clone()).ok_or_else(|| WeightsError::hub(&remote, reason));
    }
    model::download(&remote)
}

impl WeightsError {
    fn hub(remote: &Remote<'_>, reason: String) -> Self {
        Self::Hub { model: remote.name.to_string(), endpoint: remote.options.endpoint.clone(), reason }
    }
}
