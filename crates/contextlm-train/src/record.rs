//! What the directory of a run tells of it.

mod about;
mod history;
mod training_set;

use std::path::{Path, PathBuf};

pub use about::{About, RunParameters, RunSession, ValidationSet};
pub(crate) use history::null_is_nan;
pub use history::{History, StepLine, ValidLine};
pub use training_set::TrainingSet;

use crate::TrainError;

/// Every step and every validation, one JSON object a line.
pub(crate) const METRICS: &str = "metrics.jsonl";
/// What was trained, and what with.
pub(crate) const ABOUT: &str = "run.json";
/// Every setting.
pub(crate) const CONFIG: &str = "config.toml";

/// A run, read back from its directory.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// The directory.
    pub dir: PathBuf,
    /// What was trained and with what, `run.json`; `None` where there is no such file.
    pub about: Option<About>,
    /// Steps and validations, `metrics.jsonl`.
    pub history: History,
    /// The settings, `config.toml`, as they stand there; `None` where there is no such file.
    pub config: Option<String>,
}

impl RunRecord {
    /// Reads the directory of a run. It may still be training.
    ///
    /// # Errors
    /// [`TrainError::File`] where it has no `metrics.jsonl`; [`TrainError::Metrics`] naming file and line of what cannot be
    /// read. A last line that is not complete, as a killed run leaves it, is left out.
    pub fn read(dir: impl AsRef<Path>) -> Result<Self, TrainError> {
        let dir = dir.as_ref();
        let history = History::read(&dir.join(METRICS))?;
        let about = About::read(&dir.join(ABOUT))?;
        let config = dir.join(CONFIG);
        let config = match config.exists() {
            true => Some(std::fs::read_to_string(&config).map_err(TrainError::io(&config))?),
            false => None,
        };
        Ok(Self { dir: dir.into(), about, history, config })
    }

    /// The name of the directory; that of a seed has the one above it in front, as in `small-plain/seed-0`.
    pub fn name(&self) -> String {
        // `.` has no name of its own.
        let whole = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        let name = |dir: &Path| dir.file_name().map(|name| name.to_string_lossy().into_owned());
        match (whole.parent().and_then(name), name(&whole)) {
            (Some(above), Some(last)) if last.starts_with("seed-") => format!("{above}/{last}"),
            (_, last) => last.unwrap_or_else(|| whole.display().to_string()),
        }
    }
}
