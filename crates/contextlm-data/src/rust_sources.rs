use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::DataError;
use crate::files::files_in;

/// Where Cargo keeps its files: the environment's `CARGO_HOME`, else `.cargo` in the home folder.
pub fn default_cargo_home() -> Option<PathBuf> {
    let set = env::var_os("CARGO_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    set.or_else(|| env::home_dir().map(|home| home.join(".cargo")))
}

/// The Rust sources of the packages that a Cargo.lock names, from `registry/src` under `cargo_home`: text that is on every
/// machine that has built them.
///
/// Packages sorted by name and version, the files of each sorted; empty files and packages that are not there are left
/// out. Which files a package has is given by its version, so that the same Cargo.lock and the same platform give the same
/// list.
///
/// # Errors
/// [`DataError::Io`] if the Cargo.lock or a folder cannot be read, [`DataError::NoRustSources`] if there is no file.
pub fn rust_sources(cargo_lock: &Path, cargo_home: &Path) -> Result<Vec<PathBuf>, DataError> {
    let lock = fs::read_to_string(cargo_lock).map_err(|source| DataError::Io { path: cargo_lock.into(), source })?;
    let packages = registry_packages(&lock);
    let folder = cargo_home.join("registry").join("src");
    let registries = folders_in(&folder);
    let mut files = Vec::new();
    for package in &packages {
        // The same package from two registries is the same text.
        let Some(sources) = registries.iter().map(|registry| registry.join(package)).find(|path| path.is_dir()) else {
            continue;
        };
        files.extend(files_in(&sources, |file| {
            file.extension() == Some(OsStr::new("rs")) && file.metadata().is_ok_and(|data| data.len() > 0)
        })?);
    }
    match files.is_empty() {
        true => Err(DataError::NoRustSources { folder, lock: cargo_lock.into(), packages: packages.len() }),
        false => Ok(files),
    }
}

/// The folders in a folder, sorted; none if it is not there.
fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// `name-version` of every package that a Cargo.lock takes from a registry.
fn registry_packages(lock: &str) -> BTreeSet<String> {
    let package = |table: &str| {
        let value =
            |key: &str| table.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'));
        let folder = format!("{}-{}", value("name")?, value("version")?);
        let from_registry = value("source")?.contains("registry+") || value("source")?.contains("sparse+");
        // Nothing that could lead out of the registry's folder.
        let mut parts = Path::new(&folder).components();
        let one_name = matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name == OsStr::new(&folder));
        (from_registry && one_name).then_some(folder)
    };
    lock.split("[[package]]").skip(1).filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
version = 4

[[package]]
name = "zeta"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "00"
dependencies = [
 "alpha",
]

[[package]]
name = "alpha"
version = "0.2.1+build"
source = "sparse+https://example.org/index/"

[[package]]
name = "ours"
version = "0.1.0"

[[package]]
name = "../../secret"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"

[[package]]
name = "absent"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
"#;

    fn home_with(files: &[&str]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("Cargo.lock"), LOCK).unwrap();
        for file in files {
            let path = home.path().join("registry/src").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, if file.ends_with("empty.rs") { "" } else { "fn main() {}" }).unwrap();
        }
        home
    }

    #[test]
    fn sorted_sources_of_the_packages_that_are_named() {
        let home = home_with(&[
            "index-1/zeta-1.0.0/src/lib.rs",
            "index-1/zeta-1.0.0/src/empty.rs",
            "index-1/zeta-1.0.0/build.rs",
            "index-1/zeta-1.0.0/README.md",
            "index-1/zeta-1.0.1/src/lib.rs",
            "index-1/ours-0.1.0/src/lib.rs",
            "index-2/zeta-1.0.0/src/lib.rs",
            "index-2/alpha-0.2.1+build/src/deep/er.rs",
            "../secret-1.0.0/lib.rs",
        ]);
        let root = home.path().join("registry/src");
        let files = rust_sources(&home.path().join("Cargo.lock"), home.path()).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.strip_prefix(&root).unwrap().to_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "index-2/alpha-0.2.1+build/src/deep/er.rs",
                "index-1/zeta-1.0.0/build.rs",
                "index-1/zeta-1.0.0/src/lib.rs"
            ]
        );
    }

    #[test]
    fn nothing_there_says_where_it_was_looked_for() {
        let home = home_with(&["index-1/other-1.0.0/src/lib.rs"]);
        let error = rust_sources(&home.path().join("Cargo.lock"), home.path()).unwrap_err();
        assert!(matches!(error, DataError::NoRustSources { packages: 3, .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("registry/src") && message.contains("--text PATH"), "{message}");
        let absent = rust_sources(Path::new("no/Cargo.lock"), home.path());
        assert!(matches!(absent, Err(DataError::Io { path, .. }) if path.ends_with("Cargo.lock")));
    }
}
