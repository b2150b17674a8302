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

    /// The newest checkpoint that is whole, and the damaged ones that are newer.
    ///
    /// # Errors
    /// [`TrainError::File`] if the folder cannot be read; one that is not there has no checkpoint.
    pub fn newest(&self) -> Result<(Option<Checkpoint>, Vec<Damaged>), TrainError> {
        let mut damaged = Vec::new();
        for (step, path) in self.all()?.into_iter().rev() {
            match verify(&path) {
                Ok(()) => return Ok((Some(Checkpoint { path, step }), damaged)),
                Err(reason) => damaged.push(Damaged { path, reason }),
            }
        }
        Ok((None, damaged))
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
