use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::DataError;

/// The file that is locked. It stays, as a file that is removed while another process waits for it locks nothing.
pub(super) const LOCK: &str = "prepare.lock";

/// Takes a folder, which no other process writes to as long as the file is open.
///
/// # Errors
/// [`DataError::Prepare`] if another process has it; [`DataError::Io`].
pub(super) fn lock(out: &Path) -> Result<File, DataError> {
    let path = out.join(LOCK);
    let io_error = |source| DataError::Io { path: path.clone(), source };
    fs::create_dir_all(out).map_err(io_error)?;
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let reason = "another process is writing shards to it; wait for it, or write elsewhere".into();
            Err(DataError::Prepare { path: out.into(), reason })
        }
        Err(TryLockError::Error(error)) => Err(io_error(error)),
    }
}
