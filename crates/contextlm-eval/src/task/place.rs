use std::fs;
use std::path::{Path, PathBuf};

#[cfg(feature = "hub")]
use contextlm_weights::hub::{HubOptions, find_dataset};

use super::Task;
use crate::EvalError;

/// Where the data of tasks are looked for: in a folder, and then, with the feature `hub`, on the Hugging Face hub.
#[derive(Debug, Clone, Default)]
pub struct Place {
    dir: Option<PathBuf>,
    #[cfg(feature = "hub")]
    hub: Option<HubOptions>,
}

impl<P: Into<PathBuf>> From<P> for Place {
    /// A folder with the data files, or with folders of them.
    fn from(dir: P) -> Self {
        Self {
            dir: Some(dir.into()),
            #[cfg(feature = "hub")]
            hub: None,
        }
    }
}

/// What the data of a task are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// Files of the hub.
    Hub {
        /// `org/name`.
        dataset: String,
        /// The commit that they are of.
        commit: String,
        /// Why the cache was used without asking the hub which commit is the newest, if it was.
        offline: Option<String>,
    },
}

/// The files with the rows of a task.
#[derive(Debug, Clone)]
pub struct Located {
    /// What they are.
    pub origin: Origin,
    pub(super) paths: Vec<PathBuf>,
    /// Where they were found.
    pub(super) place: Place,
}

impl Place {
    /// The same, and the hub where the folder has no data of a task; whatever the hub has is in its cache afterwards.
    #[cfg(feature = "hub")]
    pub fn or_hub(self, options: HubOptions) -> Self {
        Self { hub: Some(options), ..self }
    }

    /// Finds the files with the rows of a task, and downloads them where they are to be had from the hub only.
    ///
    /// # Errors
    /// [`EvalError::NoTaskData`], [`EvalError::File`], [`EvalError::Hub`].
    pub fn locate(&self, task: &Task) -> Result<Located, EvalError> {
        let (paths, origin) = match self.find_file(task, &task.files) {
            Ok(path) => (vec![path.clone()], Origin::File(path)),
            Err(missing @ EvalError::NoTaskData { .. }) => self.on_hub(task).unwrap_or(Err(missing))?,
            Err(error) => return Err(error),
        };
        Ok(Located { origin, paths, place: self.clone() })
    }

    /// The files on the hub, if this place has one and the task names some.
    #[cfg(feature = "hub")]
    fn on_hub(&self, task: &Task) -> Option<Result<(Vec<PathBuf>, Origin), EvalError>> {
        let (options, hub) = (self.hub.as_ref()?, task.hub.as_ref()?);
        let files = if task.files.is_empty() { format!("{}.jsonl", task.name) } else { names(&task.files) };
        let failed = |reason: String| EvalError::Hub { task: task.name.clone(), reason, files: files.clone() };
        let name = match format!("{}@{}", hub.dataset, hub.revision).parse() {
            Ok(name) => name,
            Err(error) => return Some(Err(failed(format!("{}: {error}", hub.dataset)))),
        };
        let found = find_dataset(&name, &hub.files, options).map_err(|error| failed(error.to_string()));
        Some(found.map(|found| {
            let (dataset, commit) = (found.dataset.id, found.dataset.revision);
            (found.paths, Origin::Hub { dataset, commit, offline: found.offline })
        }))
    }

    #[cfg(not(feature = "hub"))]
    fn on_hub(&self, _: &Task) -> Option<Result<(Vec<PathBuf>, Origin), EvalError>> {
        None
    }

    /// The first of the names that is there, in the folder or in one inside it.
    ///
    /// # Errors
    /// [`EvalError::NoTaskData`], [`EvalError::File`].
    pub(super) fn find_file(&self, task: &Task, names: &[String]) -> Result<PathBuf, EvalError> {
        let found = match &self.dir {
            Some(dir) => find(names, dir)?,
            None => None,
        };
        found.ok_or_else(|| EvalError::NoTaskData {
            task: task.name.clone(),
            dir: self.dir.clone(),
            files: self::names(names),
        })
    }
}

fn find(names: &[String], dir: &Path) -> Result<Option<PathBuf>, EvalError> {
    let mut dirs = vec![dir.to_path_buf()];
    let mut inside = Vec::new();
    for entry in fs::read_dir(dir).map_err(EvalError::io(dir))? {
        let path = entry.map_err(EvalError::io(dir))?.path();
        if path.is_dir() {
            inside.push(path);
        }
    }
    inside.sort();
    dirs.append(&mut inside);
    let candidates = dirs.iter().flat_map(|dir| names.iter().flat_map(|name| written(name)).map(|name| dir.join(name)));
    Ok(candidates.into_iter().find(|path| path.is_file()))
}

/// The names that a file of JSON lines, or a raw one, may have.
fn written(name: &str) -> Vec<String> {
    let mut written: Vec<String> = ["", ".zst", ".gz"].map(|ending| format!("{name}{ending}")).into();
    written.extend(name.strip_suffix(".jsonl").map(|stem| format!("{stem}.parquet")));
    written
}

/// For messages.
fn names(files: &[String]) -> String {
    files.join(" or ")
}
