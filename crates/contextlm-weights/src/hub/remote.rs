use std::path::PathBuf;

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::fetch::Files;
use super::name::is_word;
use super::wait::wait;
use super::{HubName, HubOptions};

/// A repository of the hub, and where to ask for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote<'a> {
    pub kind: RepoType,
    pub name: &'a HubName,
    pub options: &'a HubOptions,
}

/// Why it is not known what the hub has.
pub(super) enum Unknown {
    /// It said so.
    Refused(String),
    /// It did not answer.
    Unreachable(String),
}

impl Remote<'_> {
    /// What this machine has of it.
    pub fn cache(&self) -> CacheRepo {
        Cache::new(self.options.cache.clone()).repo(self.repo())
    }

    /// The folder of one of its commits.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.cache().pointer_path(commit)
    }

    /// The commit that the cache has under the name of a branch, or that the name is.
    pub fn cached_commit(&self) -> Option<String> {
        let repository = self.options.cache.join(self.repo().folder_name());
        match std::fs::read_to_string(repository.join("refs").join(&self.name.revision)) {
            Ok(commit) => Some(commit.trim().to_string()).filter(|commit| is_word(commit)),
            // Other programs write no reference to a commit that was asked for by its hash.
            Err(_) => is_word(&self.name.revision).then(|| self.name.revision.clone()),
        }
    }

    /// The commit of its revision and the names of its files.
    pub fn info(&self) -> Result<RepoInfo, Unknown> {
        let api = self.api().map_err(|error| Unknown::Refused(error.to_string()))?;
        let info = match wait(self.options.patience, || 0, move || api.info()) {
            Some(Ok(info)) => info,
            Some(Err(ApiError::RequestError(error))) => return Err(self.unknown(*error)),
            Some(Err(error)) => return Err(Unknown::Unreachable(error.to_string())),
            None => return Err(Unknown::Unreachable(format!("no answer within {:?}", self.options.patience))),
        };
        // It becomes the name of a folder.
        match is_word(&info.sha) {
            true => Ok(info),
            false => Err(Unknown::Refused(format!("the hub calls its commit {:?}", info.sha))),
        }
    }

    fn unknown(&self, error: ureq::Error) -> Unknown {
        let what = match self.kind {
            RepoType::Dataset => "data set",
            _ => "model",
        };
        match error {
            ureq::Error::StatusCode(code @ (401 | 403)) => {
                Unknown::Refused(format!("status {code}: it does not exist, or it needs a token in HF_TOKEN"))
            }
            ureq::Error::StatusCode(404) => {
                Unknown::Refused(format!("status 404: there is no such {what} or revision"))
            }
            ureq::Error::StatusCode(code) => Unknown::Unreachable(format!("status {code}")),
            error => Unknown::Unreachable(error.to_string()),
        }
    }

    /// Its files, where its revision is a commit.
    pub fn files(&self) -> Result<Files<'_>, String> {
        let repo = self.api().map_err(|error| error.to_string())?;
        Ok(Files { repo, remote: self })
    }

    /// Makes a snapshot known under the name of its branch.
    pub fn refer(&self, commit: &str) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.options.cache)?;
        self.cache().create_ref(commit)
    }

    fn api(&self) -> Result<ApiRepo, ApiError> {
        let api = ApiBuilder::from_cache(Cache::new(self.options.cache.clone()))
            .with_endpoint(self.options.endpoint.clone())
            .with_token(self.options.token.clone())
            .build()?;
        Ok(api.repo(self.repo()))
    }

    /// As hf-hub knows it.
    fn repo(&self) -> Repo {
        Repo::with_revision(self.name.id.clone(), self.kind, self.name.revision.clone())
    }
}
