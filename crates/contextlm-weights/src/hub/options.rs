use std::env;
use std::path::PathBuf;
use std::time::Duration;

use hf_hub::Cache;

/// Where the hub and its cache are, in the variables that Hugging Face's own programs use.
#[derive(Clone)]
#[non_exhaustive]
pub struct HubOptions {
    /// Address of the hub (`HF_ENDPOINT`).
    pub endpoint: String,
    /// The cache that all programs share (`HF_HUB_CACHE`, or `hub` in `HF_HOME`).
    pub cache: PathBuf,
    /// For models that need one (`HF_TOKEN`, or the file that `hf auth login` writes).
    pub token: Option<String>,
    /// Whether only the cache is used (`HF_HUB_OFFLINE`).
    pub offline: bool,
    /// Whether of a model only `config.json` is fetched.
    pub config_only: bool,
    /// How long the hub may take to say what it has, before the cache is used instead or the model is given up.
    pub patience: Duration,
    /// How long a download may go without a byte before it is given up; what has come is kept.
    pub stall: Duration,
    /// Whether downloads show how far they are, on stderr where that is a terminal.
    pub progress: bool,
}

impl HubOptions {
    /// What the environment says; <https://huggingface.co> and `~/.cache/huggingface` where it says nothing.
    pub fn from_env() -> Self {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let cache = match set("HF_HUB_CACHE") {
            Some(path) => Cache::new(path.into()),
            // hf-hub takes an empty HF_HOME as it is, and ends the process where there is no home directory.
            None if set("HF_HOME").is_some() => Cache::from_env(),
            None if env::home_dir().is_some() => Cache::default(),
            None => Cache::new(".cache/huggingface/hub".into()),
        };
        let on = |value: String| matches!(&*value.to_lowercase(), "1" | "on" | "yes" | "true");
        Self {
            endpoint: set("HF_ENDPOINT").unwrap_or("https://huggingface.co".into()).trim_end_matches('/').into(),
            token: set("HF_TOKEN").or_else(|| cache.token()),
            // The links in it are relative to where they are.
            cache: std::path::absolute(cache.path()).unwrap_or_else(|_| cache.path().clone()),
            offline: set("HF_HUB_OFFLINE").is_some_and(on),
            config_only: false,
            patience: Duration::from_secs(8),
            stall: Duration::from_secs(60),
            progress: true,
        }
    }
}

/// Without the token.
impl std::fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { endpoint, cache, token, offline, config_only, patience, stall, progress } = self;
        f.debug_struct("HubOptions")
            .field("endpoint", endpoint)
            .field("cache", cache)
            .field("token", &token.as_ref().map(|_| "..."))
            .field("offline", offline)
            .field("config_only", config_only)
            .field("patience", patience)
            .field("stall", stall)
            .field("progress", progress)
            .finish()
    }
}
