use std::path::PathBuf;

use hf_hub::RepoType;

use super::name::is_commit;
use super::remote::{Remote, Unknown};
use super::{HubName, HubOptions};
use crate::WeightsError;

/// What a file of a data set may end in; anything else is not fetched.
const ENDINGS: [&str; 4] = ["parquet", "jsonl", "json", "txt"];

/// Files of a data set on this machine, and what they are copies of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatasetFiles {
    /// Their places, in the order in which they were asked for.
    pub paths: Vec<PathBuf>,
    /// The hub's name of the data set, with the commit of the files as its revision.
    pub dataset: HubName,
    /// Why the cache was used without asking the hub, if it was and its revision is not a commit.
    pub offline: Option<String>,
}

/// Files of a data set of the hub by their paths in its repository; they are downloaded into the cache as far as they are not
/// there yet.
///
/// Only files that end in .parquet, .jsonl, .json or .txt, also with .gz or .zst, are ever fetched. A revision that is a commit
/// never changes: once its files are there, the hub is not asked any more. Otherwise as [`find`](super::find).
///
/// # Errors
/// [`WeightsError::Dataset`] with the data set and the reason.
pub fn find_dataset(name: &HubName, files: &[String], options: &HubOptions) -> Result<DatasetFiles, WeightsError> {
    let remote = Remote { kind: RepoType::Dataset, name, options };
    let failed = |reason: String| WeightsError::Dataset {
        dataset: name.to_string(),
        endpoint: options.endpoint.clone(),
        reason,
    };
    // Its parts may have been changed since it was read.
    if let Err(error) = name.to_string().parse::<HubName>() {
        return Err(failed(error.to_string()));
    }
    if let Some(file) = files.iter().find(|file| !is_data(file)) {
        return Err(failed(format!("{file:?}: only files of {} are fetched", ENDINGS.join(", "))));
    }
    let found = cached(&remote, files);
    match found {
        Some(found) if is_commit(&name.revision) => return Ok(found),
        Some(found) if options.offline => {
            return Ok(DatasetFiles { offline: Some("HF_HUB_OFFLINE is set".into()), ..found });
        }
        None if options.offline => return Err(failed("HF_HUB_OFFLINE is set, and the cache does not have it".into())),
        _ => {}
    }
    let info = match remote.info() {
        Ok(info) => info,
        Err(Unknown::Refused(reason)) => return Err(failed(reason)),
        Err(Unknown::Unreachable(reason)) => {
            let offline = Some(reason.clone());
            return found.map(|found| DatasetFiles { offline, ..found }).ok_or_else(|| failed(reason));
        }
    };
    if let Some(file) = files.iter().find(|&file| info.siblings.iter().all(|other| other.rfilename != *file)) {
        return Err(failed(format!(
            "there is no {file} in it{}",
            others(info.siblings.iter().map(|file| &file.rfilename))
        )));
    }
    let dataset = name.at(&info.sha);
    let at_commit = Remote { name: &dataset, ..remote };
    let fetched = at_commit.files().map_err(failed)?;
    let paths = files.iter().map(|file| fetched.get(file)).collect::<Result<_, _>>().map_err(failed)?;
    remote.refer(&info.sha).map_err(|error| failed(error.to_string()))?;
    Ok(DatasetFiles { paths, dataset, offline: None })
}

/// What the cache has, if it has all of them.
fn cached(remote: &Remote<'_>, files: &[String]) -> Option<DatasetFiles> {
    let commit = remote.cached_commit()?;
    let dir = remote.snapshot(&commit);
    let paths: Vec<PathBuf> = files.iter().map(|file| dir.join(file)).collect();
    let whole = paths.iter().all(|path| path.is_file());
    whole.then(|| DatasetFiles { paths, dataset: remote.name.at(&commit), offline: None })
}

fn is_data(file: &str) -> bool {
    let plain = file.strip_suffix(".gz").or(file.strip_suffix(".zst")).unwrap_or(file);
    super::name::is_path(file) && plain.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

/// Names of data files for a message, not too many.
fn others<'a>(names: impl Iterator<Item = &'a String>) -> String {
    const MOST: usize = 8;
    let names: Vec<&str> = names.map(String::as_str).filter(|name| is_data(name)).collect();
    let more = if names.len() > MOST { format!(" and {} more", names.len() - MOST) } else { String::new() };
    match names.is_empty() {
        true => String::new(),
        false => format!(", but {}{more}", names[..names.len().min(MOST)].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_are_data() {
        for file in ["data/test-00000-of-00001.parquet", "a.jsonl.gz", "b/c.json", "x.txt.zst"] {
            assert!(is_data(file), "{file}");
        }
        for file in ["load.py", "a.bin", "a.pkl", "../a.jsonl", "/a.jsonl", "a.parquet.py", "parquet", "a.zip", ""] {
            assert!(!is_data(file), "{file}");
        }
    }
}
