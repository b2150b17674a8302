use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hub::HubData;
use super::process::Process;
use super::prompt::Template;
use crate::{EvalError, Metric};

/// What an example consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `{context, choices, gold}`: the likeliest of several continuations.
    Choices,
    /// `{context, completion}`: one continuation.
    Completion,
    /// `{contexts, continuation, gold}`: the context behind which one continuation is likeliest.
    Contexts,
    /// `{good, bad}`: the likelier of two sentences.
    Pair,
    /// `{text}`: a whole text, in windows.
    Text,
}

impl Shape {
    /// The keys of an example.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Choices => &["context", "choices", "gold"],
            Self::Completion => &["context", "completion"],
            Self::Contexts => &["contexts", "continuation", "gold"],
            Self::Pair => &["good", "bad"],
            Self::Text => &["text"],
        }
    }

    /// The metrics that it can be counted by.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Choices | Self::Pair => &[Metric::Acc, Metric::AccNorm, Metric::AccBytes],
            Self::Contexts => &[Metric::Acc],
            Self::Completion => &[Metric::Perplexity, Metric::Acc],
            Self::Text => &[Metric::WordPerplexity, Metric::BytePerplexity, Metric::BitsPerByte],
        }
    }
}

/// A task, as its TOML file says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Task {
    /// Its name in results.
    pub name: String,
    /// Its version; one number stands for one way of asking and counting.
    pub version: f64,
    /// One line on what it measures.
    pub about: String,
    /// Where the data come from, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Names of the data file, any of which will do: .jsonl, also with .gz or .zst behind it or .parquet instead, or a raw
    /// file of WikiText. It may be left out where `hub` is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Data on the Hugging Face hub, for where no file is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubData>,
    /// What an example consists of.
    pub shape: Shape,
    /// How it is counted.
    pub metrics: Vec<Metric>,
    /// Solved examples before each question, unless the caller wants another number.
    #[serde(default)]
    pub shots: usize,
    /// Names of the file that these are taken from. Without one they are the first other ones of the data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shots_files: Vec<String>,
    /// What stands between solved examples.
    #[serde(default = "two_lines")]
    pub shots_delimiter: String,
    /// Whether the text is put back into the form it had before WikiText was tokenized; words and bytes are counted
    /// before.
    #[serde(default)]
    pub wikitext: bool,
    /// How a row of the hub is put into the shape where a template cannot say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Templates of the shape's keys, for examples that have every key they name; others must have the shape's keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prompt: BTreeMap<String, Template>,
}

fn two_lines() -> String {
    "\n\n".into()
}

impl Task {
    /// Reads a task file.
    ///
    /// # Errors
    /// [`EvalError::File`], [`EvalError::TaskFile`].
    pub fn from_file(path: &Path) -> Result<Self, EvalError> {
        let bytes = fs::read(path).map_err(EvalError::io(path))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            EvalError::TaskFile { path: path.into(), line, reason: "not UTF-8".into() }
        })?;
        Self::parse(text, path)
    }

    /// Reads the text of a task file; the path is for messages.
    ///
    /// # Errors
    /// [`EvalError::TaskFile`] with the line.
    pub fn parse(text: &str, path: &Path) -> Result<Self, EvalError> {
        let error = |line, reason: String| EvalError::TaskFile { path: path.into(), line, reason };
        let line_of = |at: usize| 1 + text.get(..at).unwrap_or(text).matches('\n').count();
        let task: Self = toml::from_str(text)
            .map_err(|found| error(found.span().map_or(1, |span| line_of(span.start)), found.message().into()))?;
        // Keys stand at the start of their line, or name a table.
        let key_line = |key: &str| {
            let starts =
                |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
            let is_table = |line: &str| line.trim() == format!("[{key}]");
            text.lines().position(|line| starts(line) || is_table(line)).map_or(1, |line| line + 1)
        };
        task.check().map_err(|(key, reason)| error(key_line(key), format!("{key}: {reason}")))?;
        Ok(task)
    }

    /// The key that is wrong, and why.
    fn check(&self) -> Result<(), (&str, String)> {
        let allowed = |char: char| char.is_ascii_alphanumeric() || "_-.".contains(char);
        if self.name.is_empty() || !self.name.chars().all(allowed) {
            return Err(("name", format!("{:?}: use letters, digits and _ - .", self.name)));
        }
        if !self.version.is_finite() {
            return Err(("version", format!("{}: use a number", self.version)));
        }
        if self.files.is_empty() && self.hub.is_none() {
            return Err(("files", "name at least one, or a data set of the hub under hub".into()));
        }
        if let Some(Err(reason)) = self.hub.as_ref().map(HubData::check) {
            return Err(("hub", reason));
        }
        if self.metrics.is_empty() {
            return Err(("metrics", format!("name at least one of {}", names(self.shape.metrics()))));
        }
        if let Some(metric) = self.metrics.iter().find(|metric| !self.shape.metrics().contains(metric)) {
            let (name, known) = (metric.name(), names(self.shape.metrics()));
            return Err(("metrics", format!("{name} does not go with this shape; use {known}")));
        }
        if self.shots > 0 && !self.takes_shots() {
            return Err(("shots", format!("{}: this shape takes none; leave it out", self.shots)));
        }
        if self.wikitext && self.shape != Shape::Text {
            return Err(("wikitext", "goes with the shape text only; leave it out".into()));
        }
        let known = |key: &str| self.shape.keys().contains(&key) || ["group", "labels"].contains(&key);
        if let Some((key, _)) = self.prompt.iter().find(|(key, _)| !known(key)) {
            let keys = self.shape.keys().join(", ");
            return Err((key.as_str(), format!("no key of this shape; use {keys}, labels, group")));
        }
        Ok(())
    }

    /// Whether solved examples can stand before a question.
    pub fn takes_shots(&self) -> bool {
        !matches!(self.shape, Shape::Pair | Shape::Text)
    }

    /// The task as it is, for results.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn names(metrics: &[Metric]) -> String {
    metrics.iter().map(|metric| metric.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name = \"mine\"\nversion = 1.0\nabout = \"a task\"\nfiles = [\"mine.jsonl\"]\nshape = \"choices\"\nmetrics = [\"acc\"]\n";

    #[test]
    fn a_short_file_is_a_task() {
        let task = Task::parse(GOOD, Path::new("mine.toml")).unwrap();
        assert_eq!((task.shots, task.shots_delimiter.as_str(), task.shape), (0, "\n\n", Shape::Choices));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (from, to, line, reason) in [
            ("version = 1.0", "version = ", 2, ""),
            ("version = 1.0", "version = nan", 2, "use a number"),
            ("\"choices\"", "\"choice\"", 5, "unknown variant `choice`, expected one of `choices`"),
            (
                "[\"acc\"]",
                "[\"acc\", \"perplexity\"]",
                6,
                "metrics: perplexity does not go with this shape; use acc, acc_norm, acc_bytes",
            ),
            ("[\"acc\"]", "[]", 6, "metrics: name at least one of acc"),
            ("[\"acc\"]", "[\"f1\"]", 6, "unknown variant `f1`"),
            ("[\"mine.jsonl\"]", "[]", 4, "files: name at least one, or a data set"),
            ("files = [\"mine.jsonl\"]", "hub = { dataset = \"a/b\" }", 4, "missing field `files`"),
            ("files = [\"mine.jsonl\"]", "hub = { dataset = \"a/b\", files = [] }", 4, "hub: files: name at least one"),
            (
                "files = [\"mine.jsonl\"]",
                "hub = { dataset = \"a/b\", files = [\"load.py\"] }",
                4,
                "hub: files = load.py: must end in .parquet or .jsonl",
            ),
            (
                "files = [\"mine.jsonl\"]",
                "hub = { dataset = \"../b\", files = [\"a.jsonl\"] }",
                4,
                "hub: dataset = ../b: must be org/name",
            ),
            ("metrics = ", "process = \"mine\"\nmetrics = ", 6, "unknown variant `mine`, expected one of `hellaswag`"),
            ("\"mine\"", "\"a/b\"", 1, "name: \"a/b\": use letters"),
            ("about", "abuot", 3, "unknown field `abuot`, expected one of"),
            ("version = 1.0\n", "", 1, "missing field `version`"),
            ("metrics = ", "wikitext = true\nmetrics = ", 6, "wikitext: goes with the shape text only"),
            (
                "[\"acc\"]\n",
                "[\"acc\"]\n[prompt]\n good = \"{x}\"\n",
                8,
                "good: no key of this shape; use context, choices, gold",
            ),
            ("[\"acc\"]\n", "[\"acc\"]\n[prompt]\ncontext = \"{x\"\n", 8, "no } behind {x"),
        ] {
            let error = Task::parse(&GOOD.replace(from, to), Path::new("dir/mine.toml")).unwrap_err().to_string();
            assert!(error.contains(&format!("mine.toml, line {line}: ")) && error.contains(reason), "{to}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latin.toml");
        fs::write(&path, b"name = \"mine\"\nabout = \"\xe4\"\n").unwrap();
        let error = Task::from_file(&path).unwrap_err().to_string();
        assert!(error.contains("latin.toml, line 2: not UTF-8"), "{error}");
        let pair = GOOD.replace("\"choices\"", "\"pair\"\nshots = 2");
        assert!(Task::parse(&pair, Path::new("p.toml")).unwrap_err().to_string().contains("line 6: shots: 2"));
    }
}
