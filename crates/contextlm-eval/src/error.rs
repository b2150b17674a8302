use std::path::{Path, PathBuf};

use contextlm_data::DataError;
use contextlm_generate::GenerateError;
use thiserror::Error;

/// Why something cannot be evaluated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Text or tokens cannot be read or encoded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model cannot be run.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// A setting is not one that can be run.
    #[error("{key} = {value}: {fix}")]
    Setting {
        /// The key.
        key: &'static str,
        /// The value that was found.
        value: String,
        /// What would be accepted.
        fix: String,
    },
    /// A task file is broken.
    #[error("{path}, line {line}: {reason}")]
    TaskFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what would be accepted.
        reason: String,
    },
    /// There is no task of this name.
    #[error("no task {name}: name one of {known}, or the path of a task file, which ends in .toml")]
    UnknownTask {
        /// The name.
        name: String,
        /// The names that are known.
        known: String,
    },
    /// The data of a task are not there.
    #[error("{}", no_data(.task, .dir.as_deref(), .files))]
    NoTaskData {
        /// The task.
        task: String,
        /// The folder that was looked in, if there was one.
        dir: Option<PathBuf>,
        /// The names of the files that would do.
        files: String,
    },
    /// The data of a task are on no file here, and cannot be had from the Hugging Face hub.
    #[error("{task}: {reason}; to use a file on this machine, give a folder with {files} as the data (--data)")]
    Hub {
        /// The task.
        task: String,
        /// Why not, with the data set.
        reason: String,
        /// The names of the files that would do.
        files: String,
    },
    /// An example of a task is not what its shape asks for.
    #[error("{path}, line {line}: {reason}")]
    Example {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong, and what would be accepted.
        reason: String,
    },
    /// Token shards are of another tokenizer than the model's.
    #[error(
        "{dir}: made with the tokenizer of SHA-256 {shards}, the model's has {model}; make them again with the model's"
    )]
    OtherTokenizer {
        /// The folder of the shards.
        dir: PathBuf,
        /// SHA-256 of the tokenizer that shards.json names.
        shards: String,
        /// SHA-256 of the model's.
        model: String,
    },
    /// A model is asked what its contexts know, and has none.
    #[error("the model is {found}: it predicts no contexts; give a ContextLM with source = predicted")]
    NoContexts {
        /// What it is.
        found: &'static str,
    },
    /// A chart cannot be drawn.
    #[error("chart: {reason}")]
    Chart {
        /// Why.
        reason: String,
    },
    /// A model gives values that are no numbers.
    #[error("a log-probability is {value}: check the weights and the dtype")]
    NotFinite {
        /// The value.
        value: f64,
        /// The group of requests that it belongs to, where there are groups.
        group: Option<usize>,
    },
    /// The same, of an example of a task.
    #[error("{path}, line {line}: {task}: a log-probability is {value}: check the weights and the dtype")]
    NotFiniteExample {
        /// The task.
        task: String,
        /// Its data file.
        path: PathBuf,
        /// The line of the example, from 1.
        line: u64,
        /// The value.
        value: f64,
    },
    /// The device failed.
    #[error("the log-probabilities cannot be read from the device: {reason}")]
    Device {
        /// Why.
        reason: String,
    },
    /// A file of cached results is broken.
    #[error("{path}, line {line}: {reason}; delete the file to compute everything anew")]
    Cache {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Results of several models do not belong to the same examples.
    #[error("{task}: the models were asked different examples; evaluate them in one call")]
    Unpaired {
        /// The task.
        task: String,
    },
    /// The evaluation was ended before it was through.
    #[error("interrupted after {done} of {all}{}", if *.kept { "; the same call goes on from here" } else { "" })]
    Interrupted {
        /// What was scored: requests, of a perplexity tokens.
        done: usize,
        /// All of them.
        all: usize,
        /// Whether what was scored is in a cache.
        kept: bool,
    },
}

fn no_data(task: &str, dir: Option<&Path>, files: &str) -> String {
    match dir {
        Some(dir) => {
            let dir = dir.display();
            format!("{dir}: no data of the task {task}; put {files} there, or into a folder of it (also .gz or .zst)")
        }
        None => {
            format!("no folder was given for the data of the task {task}; give one with {files} (also .gz or .zst)")
        }
    }
}

impl EvalError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    pub(crate) fn setting(key: &'static str, value: impl ToString, fix: impl Into<String>) -> Self {
        Self::Setting { key, value: value.to_string(), fix: fix.into() }
    }

    pub(crate) fn example(path: &Path, line: u64, reason: impl Into<String>) -> Self {
        Self::Example { path: path.into(), line, reason: reason.into() }
    }
}
