//! What a model is evaluated on, and files that results go to.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use contextlm_data::{DataError, Tokenizer, Tokens};
use contextlm_eval::{Encoder, EvalCorpus, TextUnit};

use crate::output::Busy;

/// A text, or tokens.
#[derive(clap::Args)]
pub(crate) struct Input {
    /// Text: .txt, .md and .jsonl, also .gz and .zst, a folder of them, or any other file as plain text
    #[arg(long, required_unless_present = "shards")]
    pub(crate) text: Option<PathBuf>,
    /// Folder of token shards, as `contextlm prepare` writes them
    #[arg(long, conflicts_with = "text")]
    pub(crate) shards: Option<PathBuf>,
    /// Key of a JSON line that holds the text
    #[arg(long, default_value = "text")]
    key: String,
    /// Takes every document on its own, instead of all as one stream; standard errors, where there are some, are then over
    /// documents instead of windows
    #[arg(long)]
    documents: bool,
}

impl Input {
    /// Documents, or one stream. `special`: a text gets the special tokens that the tokenizer's file puts around it.
    pub(crate) fn corpus(&self, model: &Path, vocabulary: usize, special: bool) -> Result<EvalCorpus, Box<dyn Error>> {
        let _busy = Busy::new(format!("reading {}", self.name()));
        Ok(match (&self.text, &self.shards) {
            (Some(text), _) => {
                EvalCorpus::from_text(text, &self.key, &Encoder::from_dir(model, special)?, self.documents)?
            }
            (None, Some(shards)) => {
                EvalCorpus::from_shards(shards, vocabulary, tokenizer(model)?.as_ref(), self.documents)?
            }
            (None, None) => return Err("give --text or --shards".into()),
        })
    }

    /// The same without special tokens, the tokens alone.
    pub(crate) fn sequences(&self, model: &Path, vocabulary: usize) -> Result<Vec<Tokens>, Box<dyn Error>> {
        Ok(self.corpus(model, vocabulary, false)?.sequences)
    }

    /// What standard errors are taken over.
    pub(crate) fn unit(&self) -> TextUnit {
        if self.documents { TextUnit::Sequences } else { TextUnit::Windows }
    }

    /// The same in a word.
    pub(crate) fn unit_name(&self) -> &'static str {
        if self.documents { "documents" } else { "windows" }
    }

    /// The file or folder.
    pub(crate) fn name(&self) -> String {
        self.text.as_ref().or(self.shards.as_ref()).map_or(String::new(), |path| path.display().to_string())
    }
}

/// The tokenizer of a model directory, if there is one: shards need none.
fn tokenizer(model: &Path) -> Result<Option<Tokenizer>, DataError> {
    let there = ["tokenizer.json", "vocab.json"].iter().any(|name| model.join(name).is_file());
    there.then(|| Tokenizer::from_dir(model)).transpose()
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
