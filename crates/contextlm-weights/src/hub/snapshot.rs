use std::fs;

use hf_hub::{Cache, Repo, RepoType};

use super::name::is_word;
use super::{HubModel, HubOptions, Snapshot};
use crate::index::read_index;

/// The snapshot of a model that the cache has, if it is whole.
pub(super) fn cached(model: &HubModel, options: &HubOptions, why: String) -> Option<Snapshot> {
    let repo = Cache::new(options.cache.clone()).repo(repo(model));
    let of_branch = repo.get("config.json");
    // Other programs write no reference to a commit that was asked for by its hash.
    let of_commit = is_word(&model.revision).then(|| repo.pointer_path(&model.revision).join("config.json"));
    let config = of_branch.or_else(|| of_commit.filter(|path| path.exists()))?;
    let dir = config.parent()?.to_path_buf();
    let commit = dir.file_name()?.to_str()?.to_string();
    let whole = dir.join("model.safetensors").exists()
        || read_index(&dir.join(INDEX)).is_ok_and(|shards| shards.values().all(|shard| dir.join(shard).exists()));
    whole.then(|| Snapshot {
        dir,
        model: Some(HubModel { id: model.id.clone(), revision: commit }),
        offline: Some(why),
    })
}

/// As hf-hub knows the model.
pub(super) fn repo(model: &HubModel) -> Repo {
    Repo::with_revision(model.id.clone(), RepoType::Model, model.revision.clone())
}

/// Makes a snapshot known under the name of its branch.
pub(super) fn refer(model: &HubModel, commit: &str, options: &HubOptions) -> std::io::Result<()> {
    let cache = Cache::new(options.cache.clone());
    fs::create_dir_all(&options.cache)?;
    cache.repo(repo(model)).create_ref(commit)
}

/// The file that says which shard has which tensor.
pub(super) const INDEX: &str = "model.safetensors.index.json";
