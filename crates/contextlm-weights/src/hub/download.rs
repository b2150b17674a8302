use std::path::{Path, PathBuf};
use std::sync::Arc;

use hf_hub::Cache;
use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};

use super::name::is_word;
use super::snapshot::{INDEX, cached, refer, repo};
use super::wait::wait;
use super::{HubModel, HubOptions, Snapshot};
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

/// Fetches what the cache does not have yet of a model's files, all of one commit.
pub(super) fn download(model: &HubModel, options: &HubOptions) -> Result<Snapshot, WeightsError> {
    let failed = |reason: String| WeightsError::hub(model, options, reason);
    let info = match info(model, options) {
        Ok(info) => info,
        Err(Unknown::Refused(reason)) => return Err(failed(reason)),
        Err(Unknown::Unreachable(reason)) => {
            return cached(model, options, reason.clone()).ok_or_else(|| failed(reason));
        }
    };
    if !is_word(&info.sha) {
        return Err(failed(format!("the hub calls its commit {:?}", info.sha)));
    }
    let pinned = HubModel { id: model.id.clone(), revision: info.sha.clone() };
    let repo = Arc::new(api(&pinned, options).map_err(|error| failed(error.to_string()))?);
    let files = Files { repo, options, pinned: &pinned };
    let there = |name: &str| info.siblings.iter().any(|file| file.rfilename == name);

    let config = files.get("config.json").map_err(failed)?;
    let dir = config.parent().map(PathBuf::from).unwrap_or_default();
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
    refer(model, &info.sha, options).map_err(|error| failed(error.to_string()))?;
    Ok(Snapshot { dir, model: Some(pinned), offline: None })
}

/// Why it is not known what the hub has.
enum Unknown {
    /// It said so.
    Refused(String),
    /// It did not answer.
    Unreachable(String),
}

/// The commit of a revision and the names of its files.
fn info(model: &HubModel, options: &HubOptions) -> Result<RepoInfo, Unknown> {
    let api = api(model, options).map_err(|error| Unknown::Refused(error.to_string()))?;
    match wait(options.patience, || 0, move || api.info()) {
        Some(Ok(info)) => Ok(info),
        Some(Err(ApiError::RequestError(error))) => Err(match *error {
            ureq::Error::StatusCode(code @ (401 | 403)) => {
                Unknown::Refused(format!("status {code}: it does not exist, or it needs a token in HF_TOKEN"))
            }
            ureq::Error::StatusCode(404) => Unknown::Refused("status 404: there is no such model or revision".into()),
            ureq::Error::StatusCode(code) => Unknown::Unreachable(format!("status {code}")),
            error => Unknown::Unreachable(error.to_string()),
        }),
        Some(Err(error)) => Err(Unknown::Unreachable(error.to_string())),
        None => Err(Unknown::Unreachable(format!("no answer within {:?}", options.patience))),
    }
}

fn api(model: &HubModel, options: &HubOptions) -> Result<ApiRepo, ApiError> {
    let api = ApiBuilder::from_cache(Cache::new(options.cache.clone()))
        .with_endpoint(options.endpoint.clone())
        .with_token(options.token.clone())
        .with_progress(options.progress)
        .build()?;
    Ok(api.repo(repo(model)))
}

/// The files of one commit.
struct Files<'a> {
    repo: Arc<ApiRepo>,
    options: &'a HubOptions,
    pinned: &'a HubModel,
}

impl Files<'_> {
    /// A file's place in the cache, after fetching it if it is not there.
    fn get(&self, name: &str) -> Result<PathBuf, String> {
        if !is_word(name) {
            return Err(format!("{name:?} is no name of a file"));
        }
        let cache = Cache::new(self.options.cache.clone()).repo(repo(self.pinned));
        let there = cache.pointer_path(&self.pinned.revision).join(name);
        if there.exists() {
            return Ok(there);
        }
        let failed = |error: ApiError| format!("{name}: {error}");
        let api = ApiBuilder::from_cache(Cache::new(self.options.cache.clone()))
            .with_token(self.options.token.clone())
            .build()
            .map_err(failed)?;
        let (stall, url) = (self.options.stall, self.repo.url(name));
        let silent = || format!("{name}: nothing came for {stall:?}; what is there is kept, try again");
        let about = wait(stall, || 0, move || api.metadata(&url)).ok_or_else(silent)?.map_err(failed)?;
        // Both become names of files.
        if !is_word(about.etag()) || about.commit_hash() != self.pinned.revision {
            let (etag, commit) = (about.etag(), about.commit_hash());
            return Err(format!("{name}: the hub gives it the tag {etag:?} and the commit {commit:?}"));
        }
        let blob = cache.blob_path(about.etag());
        let size = |path: &Path| path.metadata().map_or(0, |file| file.len());
        // One that broke off after its last byte cannot be gone on with.
        let part = blob.with_extension("part");
        if size(&part) >= about.size() as u64 && part.exists() {
            std::fs::remove_file(&part).map_err(|error| format!("{}: {error}", part.display()))?;
        }
        let (repo, wanted) = (self.repo.clone(), name.to_string());
        let path = wait(stall, || size(&part), move || repo.download(&wanted)).ok_or_else(silent)?.map_err(failed)?;
        if size(&blob) != about.size() as u64 {
            let found = size(&blob);
            // Its name says that it is whole.
            let _ = std::fs::remove_file(&path).and_then(|()| std::fs::remove_file(&blob));
            return Err(format!("{name}: {found} bytes came, and it has {}; try again", about.size()));
        }
        Ok(path)
    }
}
