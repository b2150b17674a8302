use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::shard::{HEADER_BYTES, Width, header};
use crate::{Counts, DataError, ShardInfo};

/// How far a set is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct SetState {
    counts: Counts,
    shards: Vec<ShardInfo>,
    /// Tokens in the shard that is being written.
    open: usize,
}

/// Writes the shards of one set, one after another.
pub(super) struct SetWriter {
    dir: PathBuf,
    vocabulary: usize,
    width: Width,
    shard_tokens: usize,
    state: SetState,
    file: Option<BufWriter<File>>,
    bytes: Vec<u8>,
}

impl SetWriter {
    /// Goes on from a state, which is that of the beginning at first.
    pub(super) fn open(
        dir: PathBuf,
        vocabulary: usize,
        shard_tokens: usize,
        state: &SetState,
    ) -> Result<Self, DataError> {
        fs::create_dir_all(&dir).map_err(|source| DataError::Io { path: dir.clone(), source })?;
        let width = Width::of(vocabulary);
        let mut writer =
            Self { dir, vocabulary, width, shard_tokens, state: state.clone(), file: None, bytes: Vec::new() };
        if state.open > 0 {
            let path = writer.partial();
            let io_error = |source| DataError::Io { path: path.clone(), source };
            // It was closed after the journal was written.
            let closed = path.with_extension("");
            if !path.exists() && closed.exists() {
                fs::rename(&closed, &path).map_err(io_error)?;
            }
            let mut file = OpenOptions::new().write(true).open(&path).map_err(io_error)?;
            let length = HEADER_BYTES + state.open as u64 * width.bytes();
            let found = file.metadata().map_err(io_error)?.len();
            if found < length {
                let reason = format!("{found} bytes, but {length} were written; overwrite the folder");
                return Err(DataError::Prepare { path, reason });
            }
            // What was written after the journal is written again.
            file.set_len(length).map_err(io_error)?;
            file.seek(SeekFrom::End(0)).map_err(io_error)?;
            writer.file = Some(BufWriter::new(file));
        }
        Ok(writer)
    }

    pub(super) fn counts(&self) -> Counts {
        self.state.counts
    }

    /// Writes a document.
    pub(super) fn push(&mut self, end_of_text: u32, ids: &[u32], bytes: u64) -> Result<(), DataError> {
        self.write(&[end_of_text])?;
        self.write(ids)?;
        let counts = &mut self.state.counts;
        counts.documents += 1;
        counts.tokens += 1 + ids.len() as u64;
        counts.bytes += bytes;
        Ok(())
    }

    /// Writes tokens; a shard that is full is closed.
    fn write(&mut self, mut tokens: &[u32]) -> Result<(), DataError> {
        while !tokens.is_empty() {
            let path = self.partial();
            let io_error = |source| DataError::Io { path: path.clone(), source };
            let file = match &mut self.file {
                Some(file) => file,
                None => {
                    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(io_error)?);
                    file.write_all(&[0; HEADER_BYTES as usize]).map_err(io_error)?;
                    self.file.insert(file)
                }
            };
            let (now, later) = tokens.split_at(tokens.len().min(self.shard_tokens - self.state.open));
            self.bytes.clear();
            self.width.append(now, &mut self.bytes);
            file.write_all(&self.bytes).map_err(io_error)?;
            self.state.open += now.len();
            tokens = later;
            if self.state.open == self.shard_tokens {
                self.close()?;
            }
        }
        Ok(())
    }

    /// The state, after what it says has reached the disk.
    pub(super) fn state(&mut self) -> Result<SetState, DataError> {
        let path = self.partial();
        if let Some(file) = &mut self.file {
            file.flush().and_then(|()| file.get_ref().sync_data()).map_err(|source| DataError::Io { path, source })?;
        }
        Ok(self.state.clone())
    }

    /// Closes the last shard; folder, counts and shards of the set.
    pub(super) fn finish(mut self) -> Result<(PathBuf, Counts, Vec<ShardInfo>), DataError> {
        if self.file.is_some() {
            self.close()?;
        }
        Ok((self.dir, self.state.counts, self.state.shards))
    }

    /// Gives the open shard its header and its name.
    fn close(&mut self) -> Result<(), DataError> {
        let (partial, tokens) = (self.partial(), self.state.open);
        let name = format!("{:06}.bin", self.state.shards.len());
        let path = self.dir.join(&name);
        let Some(file) = self.file.take() else { return Ok(()) };
        let head = header(self.width, tokens, self.vocabulary);
        let finish = || -> io::Result<String> {
            let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&head)?;
            file.sync_all()?;
            let digest = sha256(&partial)?;
            fs::rename(&partial, &path)?;
            Ok(digest)
        };
        let sha256 = finish().map_err(|source| DataError::Io { path: path.clone(), source })?;
        self.state.shards.push(ShardInfo { file: name, tokens: tokens as u64, sha256 });
        self.state.open = 0;
        Ok(())
    }

    /// The file that is being written. Its name does not end in `.bin`, so that nobody takes it for a shard.
    fn partial(&self) -> PathBuf {
        self.dir.join(format!("{:06}.bin.partial", self.state.shards.len()))
    }
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
