use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::DataError;

/// Bytes of a header: 256 little-endian i32.
pub(crate) const HEADER_BYTES: u64 = 1024;
const MAGIC: i32 = 20_240_520;

/// How tokens are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// Version 1: the layout of llm.c.
    U16,
    /// Version 2, ours, for vocabularies above 65,536.
    U32,
}

impl Width {
    /// The smaller one in which every token of a vocabulary fits.
    pub(crate) fn of(vocabulary: usize) -> Self {
        if vocabulary <= 1 << 16 { Self::U16 } else { Self::U32 }
    }

    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::U16 => 2,
            Self::U32 => 4,
        }
    }

    pub(crate) fn append(self, tokens: &[u32], bytes: &mut Vec<u8>) {
        match self {
            Self::U16 => tokens.iter().for_each(|&token| bytes.extend((token as u16).to_le_bytes())),
            Self::U32 => tokens.iter().for_each(|&token| bytes.extend(token.to_le_bytes())),
        }
    }

    fn tokens(self, bytes: &[u8], into: &mut [u32]) {
        match self {
            Self::U16 => {
                let words = bytes.as_chunks::<2>().0;
                into.iter_mut().zip(words).for_each(|(into, word)| *into = u16::from_le_bytes(*word).into());
            }
            Self::U32 => {
                let words = bytes.as_chunks::<4>().0;
                into.iter_mut().zip(words).for_each(|(into, word)| *into = u32::from_le_bytes(*word));
            }
        }
    }
}

/// The header of a shard. llm.c counts tokens in an i32, so a shard has at most 2^31 - 1 of them.
pub(crate) fn header(width: Width, tokens: usize, vocabulary: usize) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    let (version, vocabulary) = match width {
        Width::U16 => (1, 0),
        Width::U32 => (2, vocabulary as i32),
    };
    for (slot, value) in [MAGIC, version, tokens as i32, vocabulary].into_iter().enumerate() {
        header[4 * slot..][..4].copy_from_slice(&value.to_le_bytes());
    }
    header
}

/// One file of tokens.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) path: PathBuf,
    pub(crate) tokens: usize,
    width: Width,
    file: File,
}

impl Shard {
    /// Opens a file whose header fits its length.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let io_error = |source| DataError::Io { path: path.into(), source };
        let wrong = |reason: String| DataError::Shard { path: path.into(), reason };
        let mut file = File::open(path).map_err(io_error)?;
        let about = file.metadata().map_err(io_error)?;
        if !about.is_file() {
            return Err(DataError::NotAFile { path: path.into() });
        }
        let mut header = [0; HEADER_BYTES as usize];
        file.read_exact(&mut header)
            .map_err(|_| wrong(format!("{} bytes, but a shard begins with {HEADER_BYTES}", about.len())))?;
        let slot = |slot: usize| i32::from_le_bytes(header.as_chunks::<4>().0[slot]);
        if slot(0) != MAGIC {
            return Err(wrong(format!("begins with {}, not with the {MAGIC} of token shards", slot(0))));
        }
        let width = match slot(1) {
            1 => Width::U16,
            2 => Width::U32,
            version => return Err(wrong(format!("version {version}, but 1 and 2 are known"))),
        };
        let held = (about.len() - HEADER_BYTES) / width.bytes();
        match usize::try_from(slot(2)) {
            Ok(tokens) if about.len() == HEADER_BYTES + tokens as u64 * width.bytes() => {
                Ok(Self { path: path.into(), tokens, width, file })
            }
            _ => Err(wrong(format!("the header says {} tokens, the file holds {held}: is it truncated?", slot(2)))),
        }
    }

    /// Reads tokens from a place on; they are there.
    pub(crate) fn read(&self, start: usize, into: &mut [u32]) -> Result<(), DataError> {
        let mut bytes = vec![0; into.len() * self.width.bytes() as usize];
        let at = HEADER_BYTES + start as u64 * self.width.bytes();
        read_exact_at(&self.file, &mut bytes, at)
            .map_err(|source| DataError::Io { path: self.path.clone(), source })?;
        self.width.tokens(&bytes, into);
        Ok(())
    }

    /// The first token that is not below `vocabulary`, and its place.
    pub(crate) fn first_beyond(&self, vocabulary: usize) -> Result<Option<(usize, u32)>, DataError> {
        const PIECE: usize = 1 << 20;
        let mut piece = vec![0; PIECE.min(self.tokens)];
        for start in (0..self.tokens).step_by(PIECE) {
            let piece = &mut piece[..PIECE.min(self.tokens - start)];
            self.read(start, piece)?;
            if let Some(at) = piece.iter().position(|&token| token as usize >= vocabulary) {
                return Ok(Some((start + at, piece[at])));
            }
        }
        Ok(None)
    }
}

/// Reads without moving the place that the file is at, which threads share.
#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => (bytes, at) = (&mut bytes[count..], at + count as u64),
        }
    }
    Ok(())
}
