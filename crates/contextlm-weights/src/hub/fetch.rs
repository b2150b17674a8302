use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::ApiRepo;

use super::name::{is_path, is_word};
use super::remote::Remote;
use super::transfer::{About, Transfer};
use super::wait::wait;

/// The files of one commit.
pub(super) struct Files<'a> {
    pub repo: ApiRepo,
    pub remote: &'a Remote<'a>,
}

impl Files<'_> {
    /// A file's place in the cache, after fetching it if it is not there.
    pub fn get(&self, name: &str) -> Result<PathBuf, String> {
        if !is_path(name) {
            return Err(format!("{name:?} is no name of a file"));
        }
        let (options, commit) = (self.remote.options, &self.remote.name.revision);
        let there = self.remote.snapshot(commit).join(name);
        if there.exists() {
            return Ok(there);
        }
        let failed = |error: String| format!("{name}: {error}");
        let (stall, url, transfer) = (options.stall, self.repo.url(name), Transfer::new(options));
        let silent = || failed(format!("nothing came for {stall:?}; what is there is kept, try again"));
        let ask = transfer.clone();
        let about = wait(stall, || 0, move || ask.about(&url)).ok_or_else(silent)?.map_err(failed)?;
        // Both become names of files.
        if !is_word(&about.etag) || about.commit != *commit {
            let About { etag, commit, .. } = about;
            return Err(failed(format!("the hub gives it the tag {etag:?} and the commit {commit:?}")));
        }
        let blob = self.remote.cache().blob_path(&about.etag);
        let part = blob.with_extension("part");
        let (wanted, place) = (name.to_string(), blob.clone());
        wait(stall, || size(&part), move || fetch(&transfer, &about, &wanted, &place))
            .ok_or_else(silent)?
            .map_err(failed)?;
        point(&there, &blob, name).map_err(|error| format!("{}: {error}", there.display()))?;
        Ok(there)
    }
}

/// Fetches what is not there yet of a file. Who else fetches it is waited for.
fn fetch(transfer: &Transfer, about: &About, name: &str, blob: &Path) -> Result<(), String> {
    let (part, lock) = (blob.with_extension("part"), blob.with_extension("lock"));
    let failed = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let folder = blob.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| {
        let fix = "set HF_HOME or HF_HUB_CACHE to a folder that can be written to";
        format!("{}: {error}; {fix}", folder.display())
    })?;
    let alone = File::create(&lock).map_err(|error| failed(&lock, error))?;
    alone.lock().map_err(|error| failed(&lock, error))?;
    if size(blob) == about.size && blob.exists() {
        return Ok(());
    }
    // One that broke off after its last byte cannot be gone on with.
    if part.exists() && size(&part) >= about.size {
        fs::remove_file(&part).map_err(|error| failed(&part, error))?;
    }
    transfer.download(about, name, &part)?;
    fs::rename(&part, blob).map_err(|error| failed(blob, error))
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |file| file.len())
}

/// Puts a file where its name leads to its content.
fn point(there: &Path, blob: &Path, name: &str) -> io::Result<()> {
    let folder = there.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // From snapshots/COMMIT, and from the folders in it.
    let up = "../".repeat(2 + name.matches('/').count());
    let blobs = Path::new(&up).join("blobs").join(blob.file_name().unwrap_or_default());
    let pointed = link(&blobs, there).or_else(|_| fs::rename(blob, there));
    if there.exists() { Ok(()) } else { pointed }
}

#[cfg(unix)]
fn link(target: &Path, there: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, there)
}

/// Elsewhere not everybody may make links; the file itself goes there.
#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
