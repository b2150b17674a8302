use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::WeightsError;

/// A folder that is written beside a directory and then takes its place. Dropped before that, it is removed.
pub(super) struct Replacement {
    dir: PathBuf,
    folder: PathBuf,
    /// Where a directory that is replaced goes until the new one is there, if the two cannot be exchanged in one step.
    old: PathBuf,
    done: bool,
}

impl Replacement {
    /// # Errors
    /// [`WeightsError::File`] if the directory is there, not empty and not to be replaced, or none can be made beside it.
    /// Never replaced are one without a model, and one that has the `source` of what is written in it.
    pub(super) fn begin(dir: &Path, overwrite: bool, source: Option<&Path>) -> Result<Self, WeightsError> {
        let found = fs::symlink_metadata(dir).ok();
        if found.as_ref().is_some_and(|found| !found.is_dir()) {
            return Err(WeightsError::file(dir, "is there already and no directory; name another one"));
        }
        if found.is_some() && !overwrite && fs::read_dir(dir).map_err(WeightsError::io(dir))?.next().is_some() {
            return Err(WeightsError::file(
                dir,
                "is there already and not empty; name another directory, or overwrite it",
            ));
        }
        if found.is_some() && overwrite {
            check_replaced(dir, source)?;
        }
        let name = dir.file_name().ok_or_else(|| WeightsError::file(dir, "is not the name of a directory"))?;
        let parent = match dir.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let failed = |error: io::Error| {
            let reason = format!("no directory can be made in {}: {error}; name one elsewhere", parent.display());
            WeightsError::file(dir, reason)
        };
        fs::create_dir_all(parent).map_err(failed)?;
        let beside = |kind: &str| {
            let mut other = std::ffi::OsString::from(".");
            other.push(name);
            other.push(format!(".{kind}-{}", std::process::id()));
            parent.join(other)
        };
        let (folder, old) = (beside("new"), beside("old"));
        // What a process of this number has left behind.
        if folder.is_dir() {
            fs::remove_dir_all(&folder).map_err(WeightsError::io(&folder))?;
        }
        fs::create_dir(&folder).map_err(failed)?;
        Ok(Self { dir: dir.into(), folder, old, done: false })
    }

    /// The folder to write into.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts the folder in the directory's place.
    pub(super) fn finish(mut self) -> Result<(), WeightsError> {
        sync(&self.folder)?;
        let replaces = self.dir.is_dir();
        if replaces && exchange(&self.folder, &self.dir).is_ok() {
            // What was there is in the folder's place now.
            self.done = true;
            self.sync_parent()?;
            return fs::remove_dir_all(&self.folder).map_err(WeightsError::io(&self.folder));
        }
        if replaces {
            fs::rename(&self.dir, &self.old).map_err(WeightsError::io(&self.dir))?;
        }
        if let Err(error) = fs::rename(&self.folder, &self.dir) {
            if replaces {
                fs::rename(&self.old, &self.dir).map_err(WeightsError::io(&self.old))?;
            }
            return Err(WeightsError::io(&self.dir)(error));
        }
        self.done = true;
        self.sync_parent()?;
        if replaces {
            fs::remove_dir_all(&self.old).map_err(WeightsError::io(&self.old))?;
        }
        Ok(())
    }

    fn sync_parent(&self) -> Result<(), WeightsError> {
        match self.dir.parent() {
            Some(parent) if parent != Path::new("") => sync(parent),
            _ => sync(Path::new(".")),
        }
    }
}

/// Checks that a directory may go for a new one: it is empty or has a model, and is not where the new one comes from.
fn check_replaced(dir: &Path, source: Option<&Path>) -> Result<(), WeightsError> {
    let names = fs::read_dir(dir).map_err(WeightsError::io(dir))?.filter_map(|entry| Some(entry.ok()?.file_name()));
    let names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    if !names.is_empty() && !names.iter().any(|name| name == "config.json" || name.ends_with(".safetensors")) {
        return Err(WeightsError::file(dir, "has no model in it, and is not overwritten; name another directory"));
    }
    let real = |path: &Path| path.canonicalize().map_err(WeightsError::io(path));
    let source = source.map(real).transpose()?;
    let dir_there = real(dir)?;
    if source.is_some_and(|source| source != dir_there && source.starts_with(&dir_there)) {
        return Err(WeightsError::file(
            dir,
            "has the model in it that is read, and is not overwritten; name another one",
        ));
    }
    Ok(())
}

/// Puts each of two directories in the other's place in one step, so that at no time there is none.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

/// Other systems cannot, nor can some file systems.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.done {
            // Nothing is lost if this fails: the folder has a name that nobody reads.
            fs::remove_dir_all(&self.folder).ok();
        }
    }
}

/// Names in a folder are on the disk when this returns; only Unix can open a folder for that.
fn sync(folder: &Path) -> Result<(), WeightsError> {
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(WeightsError::io(folder))?;
    }
    Ok(())
}
