use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::format::{KNOWN, format_of};

/// The files behind `paths`, in the order in which they are read: as given, a folder as its files at any depth sorted by name.
///
/// A folder gives its files with a known extension and passes over the rest. Links are followed; a folder that links lead
/// to more than once is read once, so that a loop of links ends.
///
/// # Errors
/// [`DataError::NoPaths`], [`DataError::NotFound`], [`DataError::NotAFile`], [`DataError::UnknownExtension`] for a file
/// that is named itself, [`DataError::EmptyFolder`], [`DataError::Io`].
pub fn find_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    if paths.is_empty() {
        return Err(DataError::NoPaths);
    }
    let mut files = Vec::new();
    for path in paths {
        let kind = fs::metadata(path).map_err(|source| not_found_or_io(path, source))?;
        if kind.is_dir() {
            let inside = files_in(path, |file| format_of(file).is_some())?;
            if inside.is_empty() {
                return Err(DataError::EmptyFolder { path: path.clone(), known: KNOWN });
            }
            files.extend(inside);
        } else if !kind.is_file() {
            return Err(DataError::NotAFile { path: path.clone() });
        } else if format_of(path).is_none() {
            return Err(DataError::UnknownExtension { path: path.clone(), known: KNOWN });
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// The files of a folder at any depth that `wanted` accepts, sorted.
pub(crate) fn files_in(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        // Links make one folder reachable by many paths, even by endlessly many; its real path tells.
        if !seen.insert(folder.canonicalize().map_err(|source| not_found_or_io(&folder, source))?) {
            continue;
        }
        let mut folders = Vec::new();
        for path in sorted_entries(&folder)? {
            match fs::metadata(&path) {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() && wanted(&path) => files.push(path),
                Err(source) if wanted(&path) => return Err(not_found_or_io(&path, source)),
                // Other kinds of files, pipes for example, and broken links to them.
                _ => {}
            }
        }
        open.extend(folders.into_iter().rev());
    }
    files.sort();
    Ok(files)
}

fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let io_error = |source| DataError::Io { path: folder.to_path_buf(), source };
    let entries = fs::read_dir(folder).map_err(io_error)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(io_error)?;
    paths.sort();
    Ok(paths)
}

fn not_found_or_io(path: &Path, source: io::Error) -> DataError {
    match source.kind() {
        io::ErrorKind::NotFound => DataError::NotFound { path: path.to_path_buf() },
        _ => DataError::Io { path: path.to_path_buf(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        folder
    }

    fn names(folder: &Path, files: &[PathBuf]) -> Vec<String> {
        files.iter().map(|file| file.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_folder_gives_its_known_files_sorted() {
        let folder = folder_with(&["b.txt", "a/z.md", "a/y.jsonl.zst", "c/d/e.rs.gz", "c/photo.png", "README"]);
        let files = find_files(&[folder.path().into()]).unwrap();
        assert_eq!(names(folder.path(), &files), ["a/y.jsonl.zst", "a/z.md", "b.txt", "c/d/e.rs.gz"]);
    }

    #[test]
    fn the_order_of_the_arguments_is_kept() {
        let folder = folder_with(&["b.txt", "a.txt"]);
        let given = ["b.txt", "a.txt", "b.txt"].map(|name| folder.path().join(name));
        assert_eq!(find_files(&given).unwrap(), given);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_name() {
        let folder = folder_with(&["a.pdf", "empty/x.png"]);
        let error = |name: &str| find_files(&[folder.path().join(name)]).unwrap_err();
        assert!(matches!(find_files(&[]), Err(DataError::NoPaths)));
        assert!(matches!(error("none.txt"), DataError::NotFound { path } if path.ends_with("none.txt")));
        assert!(matches!(error("empty"), DataError::EmptyFolder { path, .. } if path.ends_with("empty")));
        let unknown = error("a.pdf");
        assert!(matches!(unknown, DataError::UnknownExtension { .. }));
        assert!(unknown.to_string().contains("a.pdf") && unknown.to_string().contains(".jsonl"), "{unknown}");
    }

    #[cfg(unix)]
    #[test]
    fn loops_of_links_end_and_pipes_are_not_opened() {
        use std::os::unix::fs::symlink;
        let folder = folder_with(&["a/x.txt", "b/y.txt"]);
        let root = folder.path();
        symlink(root, root.join("a/up")).unwrap();
        symlink(root.join("b"), root.join("a/other")).unwrap();
        symlink(root.join("a"), root.join("b/other")).unwrap();
        symlink(root.join("self.txt"), root.join("self.txt")).unwrap();
        let looped = find_files(&[root.into()]).unwrap_err();
        assert!(matches!(looped, DataError::Io { path, .. } if path.ends_with("self.txt")));
        fs::remove_file(root.join("self.txt")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(root.join("pipe.txt")).status().unwrap().success());
        assert_eq!(find_files(&[root.into()]).unwrap().len(), 2);
        assert!(matches!(find_files(&[root.join("pipe.txt")]), Err(DataError::NotAFile { .. })));
    }
}
