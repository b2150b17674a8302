use std::path::{Path, PathBuf};

use super::Snapshot;
use super::remote::{Remote, Unknown};
use crate::WeightsError;
use crate::files::{NO_PICKLE, is_pickle};
use crate::index::read_index;

/// What is fetched beside the weights, where it is there.
const COMPANIONS: [&str; 6] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "vocab.json",
    "merges.txt",
];

/// The file that says which shard has which tensor.
const INDEX: &str = "model.safetensors.index.json";

/// Fetches what the cache does not have yet of a model's files, all of one commit.
pub(super) fn download(remote: &Remote<'_>) -> Result<Snapshot, WeightsError> {
    let failed = |reason: String| WeightsError::hub(remote, reason);
    let info = match remote.info() {
        Ok(info) => info,
        Err(Unknown::Refused(reason)) => return Err(failed(reason)),
        Err(Unknown::Unreachable(reason)) => {
            return cached(remote, reason.clone()).ok_or_else(|| failed(reason));
        }
    };
    let pinned = remote.name.at(&info.sha);
    let at_commit = Remote { name: &pinned, ..*remote };
    let files = at_commit.files().map_err(failed)?;
    let there = |name: &str| info.siblings.iter().any(|file| file.rfilename == name);

    let config = files.get("config.json").map_err(failed)?;
    let dir = config.parent().map(PathBuf::from).unwrap_or_default();
    if remote.options.config_only {
        return Ok(Snapshot { dir, model: Some(pinned), offline: None });
    }
    for name in COMPANIONS.into_iter().filter(|name| there(name)) {
        files.get(name).map_err(failed)?;
    }
    if there("model.safetensors") {
        files.get("model.safetensors").map_err(failed)?;
    } else if there(INDEX) {
        let index = files.get(INDEX).map_err(failed)?;
        let mut shards: Vec<_> = read_index(&index)?.into_values().collect();
        shards.sort();
        shards.dedup();
        for shard in shards {
            files.get(&shard).map_err(failed)?;
        }
    } else {
        let pickle = info.siblings.iter().any(|file| is_pickle(&file.rfilename));
        let reason = if pickle { NO_PICKLE } else { "it has no safetensors" };
        return Err(failed(reason.into()));
    }
    remote.refer(&info.sha).map_err(|error| failed(error.to_string()))?;
    Ok(Snapshot { dir, model: Some(pinned), offline: None })
}

/// The snapshot of a model that the cache has, if it is whole.
pub(super) fn cached(remote: &Remote<'_>, why: String) -> Option<Snapshot> {
    let commit = remote.cached_commit()?;
    let dir = remote.snapshot(&commit);
    let there = if remote.options.config_only { dir.join("config.json").exists() } else { is_whole(&dir) };
    there.then(|| Snapshot { dir, model: Some(remote.name.at(&commit)), offline: Some(why) })
}

fn is_whole(dir: &Path) -> bool {
    let there = |name: &str| dir.join(name).exists();
    let shards = || read_index(&dir.join(INDEX)).is_ok_and(|shards| shards.values().all(|shard| there(shard)));
    there("config.json") && (there("model.safetensors") || shards())
}
