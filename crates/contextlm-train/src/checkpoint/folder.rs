use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::TrainError;
use crate::checkpoint::{DONE, verify};

/// A whole checkpoint whose files are those that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    path: PathBuf,
    step: usize,
}

impl Checkpoint {
    /// Its directory, which is a model directory too.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Steps that were made.
    pub fn step(&self) -> usize {
        self.step
    }
}

/// A checkpoint that cannot be gone on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Its directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// A folder of checkpoints, `step-00001000` and so on. What lacks a `DONE` is no checkpoint.
#[derive(Debug, Clone)]
pub struct CheckpointFolder {
    path: PathBuf,
}

impl CheckpointFolder {
    /// A folder; it need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the checkpoint of a step is, or would be.
    pub fn of_step(&self, step: usize) -> PathBuf {
        self.path.join(format!("step-{step:08}"))
    }

    /// The newest checkpoint that is whole, and the damaged ones that are newer. A folder that is not there has none.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] if there are some and all are damaged, or where another version has written one;
    /// [`TrainError::File`] for what cannot be read.
    pub fn newest(&self) -> Result<(Option<Checkpoint>, Vec<Damaged>), TrainError> {
        let mut damaged = Vec::new();
        for (step, path) in self.all()?.into_iter().rev() {
            match verify(&path)? {
                None => return Ok((Some(Checkpoint { path, step }), damaged)),
                Some(reason) => damaged.push(Damaged { path, reason }),
            }
        }
        if damaged.is_empty() {
            return Ok((None, damaged));
        }
        let all: Vec<_> =
            damaged.iter().map(|Damaged { path, reason }| format!("{}: {reason}", path.display())).collect();
        let reason = format!("every checkpoint is damaged: {}; remove them to begin anew", all.join("; "));
        Err(TrainError::Checkpoint { path: self.path.clone(), reason })
    }

    /// Renames damaged checkpoints to `step-00001000.damaged`: so they count no more as the newest ones, for which
    /// [`prune`](Self::prune) would remove whole ones.
    ///
    /// # Errors
    /// [`TrainError::File`].
    pub fn set_aside(&self, damaged: &[Damaged]) -> Result<(), TrainError> {
        for Damaged { path, .. } in damaged {
            let aside = path.with_extension("damaged");
            if aside.exists() {
                fs::remove_dir_all(&aside).map_err(TrainError::io(&aside))?;
            }
            fs::rename(path, &aside).map_err(TrainError::io(path))?;
        }
        Ok(())
    }

    /// Removes what killed processes have left: checkpoints that were being written or removed. No other process may be
    /// writing.
    ///
    /// # Errors
    /// [`TrainError::File`].
    pub fn sweep(&self) -> Result<(), TrainError> {
        for entry in fs::read_dir(&self.path).map_err(TrainError::io(&self.path))? {
            let path = entry.map_err(TrainError::io(&self.path))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if path.is_dir() && !path.join(DONE).exists() && is_of_a_step(&name) {
                fs::remove_dir_all(&path).map_err(TrainError::io(&path))?;
            }
        }
        Ok(())
    }

    /// Removes all but the last `keep` checkpoints, and but the one of step `best`.
    ///
    /// # Errors
    /// [`TrainError::File`].
    pub fn prune(&self, keep: usize, best: Option<usize>) -> Result<(), TrainError> {
        let all = self.all()?;
        let old = all.len().saturating_sub(keep.max(1));
        for (_, path) in all.into_iter().take(old).filter(|(step, _)| Some(*step) != best) {
            // Without this it is no checkpoint any more, should the rest not be removed.
            let done = path.join(DONE);
            fs::remove_file(&done).map_err(TrainError::io(&done))?;
            fs::remove_dir_all(&path).map_err(TrainError::io(&path))?;
        }
        Ok(())
    }

    /// All that have a `DONE`, by step.
    fn all(&self) -> Result<Vec<(usize, PathBuf)>, TrainError> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(TrainError::io(&self.path))? {
            let path = entry.map_err(TrainError::io(&self.path))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let step = name.strip_prefix("step-").and_then(|step| step.parse().ok());
            if let Some(step) = step.filter(|_| path.join(DONE).is_file()) {
                all.push((step, path));
            }
        }
        all.sort();
        Ok(all)
    }
}

/// Whether a name is `step-00001000`, or what that is called while it is written: `.step-00001000.partial`, and
/// `..step-00001000.partial.new-PID` for its model.
fn is_of_a_step(name: &str) -> bool {
    let bare = name.trim_start_matches('.');
    let Some((step, rest)) = bare.strip_prefix("step-").map(|bare| bare.split_once('.').unwrap_or((bare, ""))) else {
        return false;
    };
    let written = name.starts_with('.') && (rest == "partial" || rest.starts_with("partial."));
    step.parse::<usize>().is_ok() && (name == format!("step-{step}") || written)
}

/// Where a checkpoint is written before it is one.
pub(super) fn partial(dir: &Path) -> PathBuf {
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    dir.with_file_name(format!(".{name}.partial"))
}

/// Makes what was written a checkpoint.
pub(super) fn finish(partial: &Path, dir: &Path) -> Result<(), TrainError> {
    for entry in fs::read_dir(partial).map_err(TrainError::io(partial))? {
        let path = entry.map_err(TrainError::io(partial))?.path();
        File::open(&path).and_then(|file| file.sync_all()).map_err(TrainError::io(&path))?;
    }
    // One of this step that is there is either whole, and then the same, or damaged.
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(TrainError::io(dir))?;
    }
    let done = partial.join(DONE);
    File::create(&done).and_then(|file| file.sync_all()).map_err(TrainError::io(&done))?;
    fs::rename(partial, dir).map_err(TrainError::io(dir))?;
    if cfg!(unix) {
        let parent = dir.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(TrainError::io(parent))?;
    }
    Ok(())
}
