use std::fs;
use std::path::{Path, PathBuf};

use super::settings::{Settings, one_a_seed};
use crate::record::METRICS;
use crate::{RunRecord, TrainError};

/// Runs of one model that differ in their seed alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    name: String,
    runs: Vec<RunRecord>,
}

impl Group {
    /// Reads a group from what it is called on the command line:
    ///
    /// - `DIR`: the directory of a run, or one with runs in `seed-0`, `seed-1` and so on, as `train.seeds` leaves it;
    /// - `NAME=DIR` or `NAME=DIR,DIR,...`: one or more such directories under a name.
    ///
    /// # Errors
    /// Those of [`Group::new`] and [`RunRecord::read`].
    pub fn read(argument: &str) -> Result<Self, TrainError> {
        // A directory may have `=` in its name.
        let named = argument.split_once('=').filter(|_| !Path::new(argument).exists());
        let (name, dirs): (_, Vec<&str>) = match named {
            Some((name, dirs)) => (Some(name), dirs.split(',').collect()),
            None => (None, vec![argument]),
        };
        let mut runs = Vec::new();
        for dir in dirs {
            for run in run_directories(Path::new(dir))? {
                runs.push(RunRecord::read(run)?);
            }
        }
        let name = match (name, runs.as_slice()) {
            (Some(name), _) => name.into(),
            (None, [run]) => run.name(),
            (None, _) => name_of(Path::new(argument)),
        };
        Self::new(name, runs)
    }

    /// A group of runs that have been read.
    ///
    /// # Errors
    /// [`TrainError::Compare`] where there is no run, a run or a seed is there twice, or its runs are not of one size or of
    /// other settings.
    pub fn new(name: impl Into<String>, runs: Vec<RunRecord>) -> Result<Self, TrainError> {
        let name = name.into();
        let refused = |reason: String| Err(TrainError::Compare { reason: format!("{name}: {reason}") });
        let size = |run: &RunRecord| run.about.as_ref().map(|about| (about.parameters, about.training_flops_per_token));
        let Some(first) = runs.first() else { return refused("has no runs".into()) };
        if let Some(other) = runs.iter().find(|run| size(run) != size(first)) {
            let (a, b) = (first.dir.display(), other.dir.display());
            return refused(format!("{a} and {b} are not of one size: a group differs in its seeds alone"));
        }
        if let Some(reason) = one_a_seed(&runs)? {
            return refused(reason);
        }
        if let Some(run) = runs.iter().find(|run| run.history.valid_curve().is_empty()) {
            let dir = run.dir.display();
            return refused(format!(
                "{dir} has no validation; give data.valid and eval.every to the runs to be compared"
            ));
        }
        Ok(Self { name, runs })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its runs, at least one.
    pub fn runs(&self) -> &[RunRecord] {
        &self.runs
    }

    /// Parameters of its model, where `run.json` tells.
    pub fn parameters(&self) -> Option<usize> {
        Some(self.runs.first()?.about.as_ref()?.parameters.total)
    }

    /// Operations for a token, forward and backward, where `run.json` tells.
    pub fn flops(&self) -> Option<u64> {
        self.runs.first()?.about.as_ref()?.training_flops_per_token.filter(|flops| *flops > 0)
    }
}

fn name_of(dir: &Path) -> String {
    let last = dir.file_name().map(|name| name.to_string_lossy().into_owned());
    last.unwrap_or_else(|| dir.display().to_string())
}

/// The directory itself if it is a run, or the runs of several seeds in it, by seed.
fn run_directories(dir: &Path) -> Result<Vec<PathBuf>, TrainError> {
    if dir.join(METRICS).exists() {
        return Ok(vec![dir.into()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(TrainError::io(dir))? {
        let path = entry.map_err(TrainError::io(dir))?.path();
        let seed = path.file_name().and_then(|name| name.to_str()?.strip_prefix("seed-")?.parse::<u64>().ok());
        if let Some(seed) = seed.filter(|_| path.join(METRICS).exists()) {
            found.push((seed, path));
        }
    }
    if found.is_empty() {
        let reason = format!("{}: has neither a {METRICS} nor seed-*/{METRICS}: this is no run", dir.display());
        return Err(TrainError::Compare { reason });
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Refuses runs that were not validated on the same tokens, in the same rows.
pub(super) fn same_validation(groups: &[Group]) -> Result<(), TrainError> {
    let mut runs = groups.iter().flat_map(|group| &group.runs);
    let Some(first) = runs.next() else { return Ok(()) };
    let scored = |run: &RunRecord| run.history.valid.last().map_or(0, |line| line.valid_tokens);
    let digest = |run: &RunRecord| run.about.as_ref().and_then(|about| about.validation.clone());
    for run in runs {
        let (a, b) = (scored(first), scored(run));
        let other = matches!((digest(first), digest(run)), (Some(x), Some(y)) if x != y);
        if a != b || other {
            let (first, run) = (first.dir.display(), run.dir.display());
            let other =
                if a == b { "on other tokens than".into() } else { format!("on {b} tokens, not on the {a} of") };
            let reason =
                format!("{run} was validated {other} {first}: give all runs the same data.valid and eval.tokens");
            return Err(TrainError::Compare { reason });
        }
        let (before, here) = (Settings::of(first)?, Settings::of(run)?);
        if let Some(reason) = before.zip(here).and_then(|(before, here)| before.other_rows(&here)) {
            let (first, run) = (first.dir.display(), run.dir.display());
            return Err(TrainError::Compare { reason: format!("{run} was validated with {reason} as {first}") });
        }
    }
    Ok(())
}
