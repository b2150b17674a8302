use std::path::{Path, PathBuf};
use std::sync::Arc;

use hf_hub::Cache;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};

use super::name::{is_path, is_word};
use super::remote::Remote;
use super::wait::wait;

/// The files of one commit.
pub(super) struct Files<'a> {
    pub repo: Arc<ApiRepo>,
    pub remote: &'a Remote<'a>,
}

impl Files<'_> {
    /// A file's place in the cache, after fetching it if it is not there.
    pub fn get(&self, name: &str) -> Result<PathBuf, String> {
        if !is_path(name) {
            return Err(format!("{name:?} is no name of a file"));
        }
        let (options, commit) = (self.remote.options, &self.remote.name.revision);
        let there = self.remote.snapshot(commit).join(name);
        if there.exists() {
            return Ok(there);
        }
        let failed = |error: ApiError| format!("{name}: {error}");
        let api = ApiBuilder::from_cache(Cache::new(options.cache.clone()))
            .with_token(options.token.clone())
            .build()
            .map_err(failed)?;
        let (stall, url) = (options.stall, self.repo.url(name));
        let silent = || format!("{name}: nothing came for {stall:?}; what is there is kept, try again");
        let about = wait(stall, || 0, move || api.metadata(&url)).ok_or_else(silent)?.map_err(failed)?;
        // Both become names of files.
        if !is_word(about.etag()) || about.commit_hash() != commit {
            let (etag, commit) = (about.etag(), about.commit_hash());
            return Err(format!("{name}: the hub gives it the tag {etag:?} and the commit {commit:?}"));
        }
        let blob = self.remote.cache().blob_path(about.etag());
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
