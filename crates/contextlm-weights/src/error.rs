use std::io;
use std::path::{Path, PathBuf};

use contextlm_core::ContextLmError;
use thiserror::Error;

/// Why a model directory cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A file cannot be read or written, or is not what its name says.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The config is wrong.
    #[error(transparent)]
    Config(#[from] ContextLmError),
    /// The config asks for more layers than the files can have.
    #[error("{path}: {layers} layers, but the weights have {tensors} tensors in all; is it the config of these files?")]
    Layers {
        /// The config.
        path: PathBuf,
        /// Layers of backbone and predictor.
        layers: usize,
        /// Tensors in the files.
        tensors: usize,
    },
    /// A model of the Hugging Face hub cannot be had.
    #[error("{model}: {reason} ({endpoint}); to use a model on this machine, give the path of its directory")]
    Hub {
        /// `org/name@revision`.
        model: String,
        /// The hub's address.
        endpoint: String,
        /// Why not.
        reason: String,
    },
    /// Files of a data set of the Hugging Face hub cannot be had.
    #[error("data set {dataset}: {reason} ({endpoint})")]
    Dataset {
        /// `org/name@revision`.
        dataset: String,
        /// The hub's address.
        endpoint: String,
        /// Why not.
        reason: String,
    },
    /// The tensors in the files are not those of the model.
    #[error("{path}: the tensors are not those of the model: {}", list(problems))]
    Tensors {
        /// The model directory.
        path: PathBuf,
        /// Everything that is wrong, in no case empty.
        problems: Vec<Problem>,
    },
}

/// One thing that keeps files from being a model's.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The model has a tensor that the files do not have.
    #[error("missing: {} {shape:?}", name.escape_debug())]
    Missing {
        /// Its name.
        name: String,
        /// Its shape in a file.
        shape: Vec<usize>,
    },
    /// The files have a tensor that the model does not have.
    #[error("unexpected: {} in {}", name.escape_debug(), file.escape_debug())]
    Unexpected {
        /// Its name.
        name: String,
        /// The file that has it.
        file: String,
    },
    /// A tensor has another shape.
    #[error("wrong shape: {} is {found:?} and should be {expected:?}", name.escape_debug())]
    Shape {
        /// Its name.
        name: String,
        /// The shape that the model needs.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor's values are not of a type that can be read.
    #[error("wrong type: {} is {found} and should be F32, F16 or BF16", name.escape_debug())]
    Type {
        /// Its name.
        name: String,
        /// The type in the file.
        found: String,
    },
    /// The head of a tied model differs from the embedding that it should be.
    #[error("not tied: {} differs from {}; a head of its own needs tie_word_embeddings = false", name.escape_debug(), embedding.escape_debug())]
    Head {
        /// The head's name.
        name: String,
        /// The embedding's name.
        embedding: String,
    },
    /// Two shards have the same tensor.
    #[error("twice: {} is in {} and in {}", name.escape_debug(), first.escape_debug(), second.escape_debug())]
    Twice {
        /// Its name.
        name: String,
        /// A file that has it.
        first: String,
        /// Another one.
        second: String,
    },
    /// The index says of a tensor that it is in a shard that does not have it.
    #[error("not where the index says: {} is not in {}", name.escape_debug(), file.escape_debug())]
    NotInShard {
        /// Its name.
        name: String,
        /// The shard of the index.
        file: String,
    },
}

impl WeightsError {
    pub(crate) fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File { path: path.into(), reason: reason.to_string() }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::file(path, error)
    }
}

/// Problems that a message lists; a file can have millions.
const LISTED: usize = 1000;

fn list(problems: &[Problem]) -> String {
    let mut text: String = problems.iter().take(LISTED).map(|problem| format!("\n  {problem}")).collect();
    if problems.len() > LISTED {
        text += &format!("\n  and {} more", problems.len() - LISTED);
    }
    text
}
