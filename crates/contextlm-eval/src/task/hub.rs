use serde::{Deserialize, Serialize};

/// Files of a data set on the Hugging Face hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HubData {
    /// `org/name`.
    pub dataset: String,
    /// Branch, tag or commit. Only a commit always gives the same data.
    #[serde(default = "main_branch")]
    pub revision: String,
    /// The paths of the files in its repository, which are read one after the other: .parquet, or .jsonl, also with .gz or
    /// .zst behind it. On the branch `refs/convert/parquet` the hub has every data set as `SUBSET/SPLIT/0000.parquet`.
    pub files: Vec<String>,
}

fn main_branch() -> String {
    "main".into()
}

impl HubData {
    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { dataset, revision, files } = self;
        if !dataset.split_once('/').is_some_and(|(org, name)| is_word(org) && is_word(name)) {
            return Err(format!("dataset = {dataset}: must be org/name, in letters, digits, '-', '_' and '.'"));
        }
        if !is_path(revision) {
            return Err(format!("revision = {revision}: must be a branch, a tag or a commit"));
        }
        if files.is_empty() {
            return Err("files: name at least one".into());
        }
        match files.iter().find(|file| !is_path(file) || !is_readable(file)) {
            Some(file) => Err(format!("files = {file}: must end in .parquet or .jsonl, also .jsonl.gz or .jsonl.zst")),
            None => Ok(()),
        }
    }
}

fn is_readable(file: &str) -> bool {
    [".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst"].iter().any(|ending| file.ends_with(ending))
}

fn is_path(text: &str) -> bool {
    text.split('/').all(is_word)
}

/// Whether this can be part of a path, and leads nowhere but down.
fn is_word(text: &str) -> bool {
    let known = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    !text.is_empty() && text.chars().all(known) && !text.starts_with('.') && !text.contains("..")
}
