use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use contextlm_core::files::open_file;

use crate::header::{Stored, read_header};
use crate::index::read_index;
use crate::{Problem, WeightsError};

/// Whether a file of this name is written by pickle, or is the index of such files.
pub(crate) fn is_pickle(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    matches!(ending, "pt" | "pth" | "pkl" | "ckpt") || name.starts_with("pytorch_model") && name.contains(".bin")
}

/// Why it is not read.
pub(crate) const NO_PICKLE: &str = "a pickle file can run any code and is never read; save the model as safetensors";

/// The weights in one file.
const SINGLE: &str = "model.safetensors";
/// Which files they are in, where they are not in one.
const INDEX: &str = "model.safetensors.index.json";

/// Whether a directory has weights that can be read.
pub(crate) fn has_weights(dir: &Path) -> bool {
    there(dir, SINGLE) || there(dir, INDEX)
}

fn there(dir: &Path, name: &str) -> bool {
    dir.join(name).try_exists().unwrap_or(false)
}

/// The files of a model directory with all their tensors.
#[derive(Debug)]
pub(crate) struct ModelFiles {
    /// Names and handles.
    pub(crate) files: Vec<(String, File)>,
    /// Name to number of file and place in it.
    pub(crate) tensors: BTreeMap<String, (usize, Stored)>,
}

impl ModelFiles {
    /// Opens `model.safetensors`, or else the shards of `model.safetensors.index.json`, and reads the headers.
    pub(crate) fn open(dir: &Path) -> Result<Self, WeightsError> {
        check_directory(dir)?;
        if there(dir, SINGLE) {
            Self::open_all(dir, vec![SINGLE.into()], None)
        } else if there(dir, INDEX) {
            let shards = read_index(&dir.join(INDEX))?;
            let names: BTreeSet<String> = shards.values().cloned().collect();
            Self::open_all(dir, names.into_iter().collect(), Some(&shards))
        } else if let Some(path) = pickle_in(dir) {
            Err(WeightsError::file(&path, NO_PICKLE))
        } else {
            Err(WeightsError::file(dir, format!("there is neither {SINGLE} nor {INDEX} in it")))
        }
    }

    fn open_all(
        dir: &Path,
        names: Vec<String>,
        index: Option<&BTreeMap<String, String>>,
    ) -> Result<Self, WeightsError> {
        let mut all = Self { files: Vec::new(), tensors: BTreeMap::new() };
        let mut problems = Vec::new();
        for (number, file_name) in names.into_iter().enumerate() {
            let path = dir.join(&file_name);
            let file = open_file(&path, u64::MAX).map_err(WeightsError::io(&path))?;
            stays_inside(dir, &path)?;
            for (name, stored) in read_header(&file).map_err(WeightsError::io(&path))? {
                if let Some((first, _)) = all.tensors.insert(name.clone(), (number, stored)) {
                    let first = all.files[first].0.clone();
                    problems.push(Problem::Twice { name, first, second: file_name.clone() });
                } else if index.is_some_and(|index| index.get(&name) != Some(&file_name)) {
                    problems.push(Problem::Unexpected { name, file: file_name.clone() });
                }
            }
            all.files.push((file_name, file));
        }
        for (name, shard) in index.into_iter().flatten() {
            if all.tensors.get(name).is_none_or(|(number, _)| all.files[*number].0 != *shard) {
                problems.push(Problem::NotInShard { name: name.clone(), file: shard.clone() });
            }
        }
        if problems.is_empty() { Ok(all) } else { Err(WeightsError::Tensors { path: dir.into(), problems }) }
    }
}

/// Says so where a file is given in the place of its directory.
pub(crate) fn check_directory(dir: &Path) -> Result<(), WeightsError> {
    match dir.is_file() {
        true if dir.file_name().is_some_and(|name| is_pickle(&name.to_string_lossy())) => {
            Err(WeightsError::file(dir, NO_PICKLE))
        }
        true => Err(WeightsError::file(dir, "is a file; give the directory that has it and config.json")),
        false => Ok(()),
    }
}

fn pickle_in(dir: &Path) -> Option<PathBuf> {
    let paths = std::fs::read_dir(dir).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.file_name().is_some_and(|name| is_pickle(&name.to_string_lossy()))).min()
}

/// Checks that a file is in its directory after all links. One link may lead out: that of a snapshot in the Hugging Face cache
/// (`models--org--name/snapshots/REVISION`) to the blobs beside it.
pub(crate) fn stays_inside(dir: &Path, path: &Path) -> Result<(), WeightsError> {
    let inside = dir.canonicalize().map_err(WeightsError::io(dir))?;
    let target = path.canonicalize().map_err(WeightsError::io(path))?;
    let is_repository = |folder: &&Path| {
        folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("models--"))
            && inside.starts_with(folder.join("snapshots"))
    };
    let blobs = inside.ancestors().find(is_repository).map(|repository| repository.join("blobs"));
    if target.starts_with(&inside) || blobs.is_some_and(|blobs| target.starts_with(blobs)) {
        return Ok(());
    }
    Err(WeightsError::file(path, format!("is a link out of its directory, to {}", target.display())))
}
