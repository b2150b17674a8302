//! Reading what may be no file at all, or have no end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// More bytes than any config has.
pub const MAX_CONFIG: u64 = 10_000_000;

/// Opens a regular file of at most `limit` bytes; a pipe or a device could be read for ever.
///
/// # Errors
/// The system's, or one that says what the path is instead.
pub fn open_file(path: &Path, limit: u64) -> io::Result<File> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("not a file"));
    }
    if found.len() > limit {
        return Err(io::Error::other(format!("{} bytes, at most {limit} are read", found.len())));
    }
    File::open(path)
}

/// The bytes of a file that [`open_file`] opens, at most `limit` even if it grows.
///
/// # Errors
/// As [`open_file`].
pub fn read_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(path, limit)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
