use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::TrainError;

/// A file of JSON lines: one a step, and one a validation.
#[derive(Debug)]
pub struct Metrics {
    out: Option<(File, PathBuf)>,
}

impl Metrics {
    /// Writes to a new file.
    ///
    /// # Errors
    /// [`TrainError::File`] if it cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        let path = path.as_ref().to_path_buf();
        match File::create(&path) {
            Ok(file) => Ok(Self { out: Some((file, path)) }),
            Err(source) => Err(TrainError::File { path, source }),
        }
    }

    /// Adds to a file, which need not be there.
    ///
    /// # Errors
    /// [`TrainError::File`] if it cannot be opened.
    pub fn append(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        let path = path.as_ref().to_path_buf();
        match File::options().create(true).append(true).open(&path) {
            Ok(file) => Ok(Self { out: Some((file, path)) }),
            Err(source) => Err(TrainError::File { path, source }),
        }
    }

    /// Writes nothing.
    pub fn none() -> Self {
        Self { out: None }
    }

    /// Adds a line. It is in the file when this returns, so that a run that is killed leaves its metrics.
    pub(crate) fn line(&mut self, value: &impl Serialize) -> Result<(), TrainError> {
        let Some((file, path)) = &mut self.out else { return Ok(()) };
        let line = serde_json::to_string(value).map_err(std::io::Error::from);
        line.and_then(|line| writeln!(file, "{line}")).map_err(|source| TrainError::File { path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_one_object_and_there_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut metrics = Metrics::create(&path).unwrap();
        for step in 1..=2 {
            metrics.line(&serde_json::json!({ "step": step })).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let steps: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!((steps.len(), &steps[step - 1]["step"]), (step, &serde_json::json!(step)));
        }
        let missing = folder.path().join("no/metrics.jsonl");
        assert!(Metrics::create(&missing).unwrap_err().to_string().contains("no/metrics.jsonl"));
    }
}
