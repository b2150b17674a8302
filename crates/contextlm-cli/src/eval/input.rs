//! What a model is evaluated on, and files that results go to.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use contextlm_data::{ShardSet, Tokenizer, Tokens};
use contextlm_eval::TextUnit;

use crate::output::Busy;

/// A text, or tokens.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Input {
    /// Text file (UTF-8), which the tokenizer of the model directory turns into tokens; no special token is added
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Folder of token shards, as `contextlm prepare` writes them
    #[arg(long, value_name = "DIR")]
    shards: Option<PathBuf>,
}

/// What standard errors are taken over.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum ErrorsOver {
    /// Every window is a text
    Windows,
    /// Windows that begin in the same document are one text
    Documents,
}

impl Input {
    /// The tokens, each below `vocabulary` if they are from shards.
    pub(crate) fn tokens(&self, model: &Path, vocabulary: usize) -> Result<Tokens, Box<dyn Error>> {
        let _busy = Busy::new(format!("reading {}", self.name()));
        match (&self.text, &self.shards) {
            (Some(path), _) => {
                let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
                let ids = Tokenizer::from_dir(model)?.encode_batch(&[&text])?.concat();
                Ok(Tokens::Memory(ids.into()))
            }
            (None, Some(dir)) => Ok(Tokens::Shards(Arc::new(ShardSet::open(dir, vocabulary)?))),
            (None, None) => Err("give --text or --shards".into()),
        }
    }

    /// The file or folder.
    pub(crate) fn name(&self) -> String {
        self.text.as_ref().or(self.shards.as_ref()).map_or(String::new(), |path| path.display().to_string())
    }
}

impl ErrorsOver {
    pub(crate) fn unit(self, tokens: &Tokens) -> Result<TextUnit, Box<dyn Error>> {
        let info = match tokens {
            Tokens::Shards(shards) => shards.info(),
            Tokens::Memory(_) => None,
        };
        match (self, info) {
            (Self::Windows, _) => Ok(TextUnit::Windows),
            (Self::Documents, Some(info)) => Ok(TextUnit::Documents { end_of_text: info.end_of_text }),
            (Self::Documents, None) => Err("--errors-over documents: only token shards with a shards.json tell where \
                                            documents begin; use windows"
                .into()),
        }
    }
}

/// Checks that a file can be written, before anything is computed for it.
pub(crate) fn check_output(path: &Path) -> Result<(), Box<dyn Error>> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() || path.file_name().is_none() {
        return Err(format!("{}: must be the name of a file", path.display()).into());
    }
    if !folder.is_dir() {
        return Err(format!("{}: there is no folder {}; make it first", path.display(), folder.display()).into());
    }
    Ok(())
}

/// Writes a file as a whole or not at all: what was there stays until the new content is complete.
pub(crate) fn write_output(path: &Path, content: &str) -> Result<(), Box<dyn Error>> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = fs::write(&part, content).and_then(|()| fs::rename(&part, path));
    written.map_err(|error| format!("{}: {error}", path.display()).into())
}
