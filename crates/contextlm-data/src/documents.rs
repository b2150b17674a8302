use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

use crate::format::{Compression, KNOWN, Layout, compression_of, format_of};
use crate::json_text::{kind, value_of};
use crate::lines::{Line, read_line};
#[cfg(feature = "parquet")]
use crate::parquet_file::ParquetFile;
use crate::parts::{Parts, refuse_no_part};
use crate::split::hash;
use crate::{DataError, Document, find_files};

/// How files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// The key of a JSON line, or the column of a Parquet file, that holds the text. Default: `text`.
    pub key: String,
    /// A document, or a line of JSON, of more bytes is an error. Default: 1 GiB.
    pub max_document_bytes: u64,
    /// A longer document becomes several of at most so many bytes, cut after the last line that fits, or else after the
    /// last character; at least 1. Default: documents stay whole.
    pub part_bytes: Option<usize>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { key: "text".into(), max_document_bytes: 1 << 30, part_bytes: None }
    }
}

/// The documents of files and folders, one after the other.
///
/// .txt, .md and .rs files are one document each; a .jsonl file has one a line, blank lines aside. Each may be compressed,
/// with .gz or .zst behind its name. With the feature `parquet`, a .parquet file has one a row. Not more than one document is
/// held at a time, and of a Parquet file a page.
///
/// A document that cannot be read is an `Err` item. The iterator can go on after it, with the next line if the file can
/// still be read, else with the next file; whoever wants to stop at the first one stops there.
///
/// # Errors
/// As [`find_files`], and [`DataError::BatchShape`] for parts of no bytes, at once; as items: [`DataError::Io`], [`DataError::EmptyFile`], [`DataError::Damaged`],
/// [`DataError::NotUtf8`], [`DataError::TooLong`], [`DataError::Json`], [`DataError::MissingKey`], [`DataError::NotAString`].
pub fn read_documents(paths: &[PathBuf], options: &ReadOptions) -> Result<Documents, DataError> {
    refuse_no_part(options.part_bytes)?;
    Ok(Documents {
        files: find_files(paths)?.into_iter(),
        current: None,
        buffer: Vec::new(),
        key: options.key.clone(),
        limit: options.max_document_bytes,
        part_bytes: options.part_bytes.unwrap_or(usize::MAX),
        parts: None,
    })
}

/// The whole text of one file, whatever its name; it is decompressed if that ends in .gz or .zst. At most 1 GiB.
///
/// # Errors
/// [`DataError::Io`], [`DataError::EmptyFile`], [`DataError::Damaged`], [`DataError::NotUtf8`], [`DataError::TooLong`].
pub fn read_text(path: impl AsRef<Path>) -> Result<String, DataError> {
    let path = path.as_ref();
    let mut file = TextFile::open_as(path, Layout::Whole, compression_of(path))?;
    Ok(file.whole(ReadOptions::default().max_document_bytes)?.text)
}

/// The iterator of [`read_documents`].
pub struct Documents {
    files: std::vec::IntoIter<PathBuf>,
    current: Option<OpenFile>,
    buffer: Vec<u8>,
    key: String,
    limit: u64,
    part_bytes: usize,
    /// The document that the last item is a part of, if it was cut.
    parts: Option<Parts>,
}

/// A file that is being read.
enum OpenFile {
    Text(TextFile),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetFile>),
}

pub(crate) struct TextFile {
    pub(crate) path: Arc<Path>,
    pub(crate) layout: Layout,
    compression: Compression,
    reader: Box<dyn BufRead + Send>,
    /// The lines read so far.
    line: u64,
    /// Whether nothing was found in it yet.
    empty: bool,
}

impl Iterator for Documents {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(part) = self.parts.as_mut().and_then(Iterator::next) {
            return Some(Ok(part));
        }
        self.parts = None;
        let item = self.next_document()?;
        match item {
            Ok(document) if document.text.len() > self.part_bytes => {
                self.parts.insert(Parts::new(document, self.part_bytes)).next().map(Ok)
            }
            item => Some(item),
        }
    }
}

impl Documents {
    /// The hash of the whole document that the last item is, or is a part of.
    pub(crate) fn whole_hash(&self, item: &Document) -> u64 {
        self.parts.as_ref().map_or_else(|| hash(item.text.as_bytes()), Parts::whole_hash)
    }

    /// The next whole document.
    fn next_document(&mut self) -> Option<Result<Document, DataError>> {
        loop {
            let Some(file) = &mut self.current else {
                let path = self.files.next()?;
                match OpenFile::open(&path, &self.key) {
                    Ok(file) => self.current = Some(file),
                    Err(error) => return Some(Err(error)),
                }
                continue;
            };
            let (found, only) = match file {
                OpenFile::Text(file) if file.layout == Layout::Whole => (file.whole(self.limit).map(Some), true),
                OpenFile::Text(file) => (file.next_line(&mut self.buffer, &self.key, self.limit), false),
                #[cfg(feature = "parquet")]
                OpenFile::Parquet(file) => (file.next_row(self.limit), false),
            };
            // What ends a file: its only document, its end, or that it cannot be read any further.
            let done = only
                || matches!(
                    found,
                    Ok(None) | Err(DataError::Io { .. } | DataError::Damaged { .. } | DataError::EmptyFile { .. })
                );
            if done {
                self.current = None;
            }
            if let Some(item) = found.transpose() {
                return Some(item);
            }
        }
    }
}

impl OpenFile {
    #[cfg_attr(not(feature = "parquet"), allow(unused_variables))]
    fn open(path: &Path, key: &str) -> Result<Self, DataError> {
        #[cfg(feature = "parquet")]
        if matches!(format_of(path), Some((Layout::Parquet, _))) {
            return Ok(Self::Parquet(Box::new(ParquetFile::open(path, key)?)));
        }
        Ok(Self::Text(TextFile::open(path)?))
    }
}

impl TextFile {
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let (layout, compression) =
            format_of(path).ok_or_else(|| DataError::UnknownExtension { path: path.into(), known: KNOWN })?;
        Self::open_as(path, layout, compression)
    }

    fn open_as(path: &Path, layout: Layout, compression: Compression) -> Result<Self, DataError> {
        let io_error = |source| DataError::Io { path: path.into(), source };
        let file = BufReader::with_capacity(1 << 16, File::open(path).map_err(io_error)?);
        let mut reader: Box<dyn BufRead + Send> = match compression {
            Compression::Plain => Box::new(file),
            Compression::Gzip => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))),
            // The decoder refuses windows above 128 MiB by itself, so its memory is bounded.
            Compression::Zstd => {
                Box::new(BufReader::with_capacity(1 << 16, zstd::Decoder::with_buffer(file).map_err(io_error)?))
            }
        };
        let start = reader.fill_buf().map_err(|error| read_error(path, compression, 1, error))?;
        // A byte-order mark is no text.
        let mark = if start.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        reader.consume(mark);
        Ok(Self { path: path.into(), layout, compression, reader, line: 0, empty: true })
    }

    /// Lines read so far.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    fn whole(&mut self, limit: u64) -> Result<Document, DataError> {
        let mut bytes = Vec::new();
        let read = self.reader.as_mut().take(limit.saturating_add(1)).read_to_end(&mut bytes);
        if let Err(error) = read {
            let line = 1 + newlines(&bytes);
            return Err(read_error(&self.path, self.compression, line, error));
        }
        if bytes.is_empty() {
            return Err(DataError::EmptyFile { path: self.path.to_path_buf() });
        }
        if bytes.len() as u64 > limit {
            return Err(DataError::TooLong { path: self.path.to_path_buf(), line: 1, limit });
        }
        let text = String::from_utf8(bytes).map_err(|error| DataError::NotUtf8 {
            path: self.path.to_path_buf(),
            line: 1 + newlines(&error.as_bytes()[..error.utf8_error().valid_up_to()]),
        })?;
        Ok(Document { text, path: self.path.clone(), line: 1 })
    }

    fn next_line(&mut self, buffer: &mut Vec<u8>, key: &str, limit: u64) -> Result<Option<Document>, DataError> {
        let Some(json) = self.next_text(buffer, limit)? else { return Ok(None) };
        let (path, line) = (self.path.to_path_buf(), self.line);
        match value_of(json, key) {
            Err(reason) => Err(DataError::Json { path, line, reason }),
            Ok(Some(Value::String(text))) => Ok(Some(Document { text, path: self.path.clone(), line })),
            Ok(Some(other)) => Err(DataError::NotAString { path, line, key: key.to_owned(), found: kind(&other) }),
            Ok(None) => Err(DataError::MissingKey { path, line, key: key.to_owned() }),
        }
    }

    /// The next line that is not blank; `line` is then its number.
    pub(crate) fn next_text<'b>(&mut self, buffer: &'b mut Vec<u8>, limit: u64) -> Result<Option<&'b str>, DataError> {
        loop {
            let line = self.line + 1;
            let found = read_line(self.reader.as_mut(), buffer, limit)
                .map_err(|error| read_error(&self.path, self.compression, line, error))?;
            self.line = line;
            let path = || self.path.to_path_buf();
            match found {
                Line::End if self.empty => return Err(DataError::EmptyFile { path: path() }),
                Line::End => return Ok(None),
                Line::Whole if buffer.trim_ascii().is_empty() => continue,
                Line::Whole => self.empty = false,
                Line::TooLong => {
                    self.empty = false;
                    return Err(DataError::TooLong { path: path(), line, limit });
                }
            }
            break;
        }
        let (path, line) = (|| self.path.to_path_buf(), self.line);
        std::str::from_utf8(buffer).map(Some).map_err(|_| DataError::NotUtf8 { path: path(), line })
    }
}

pub(crate) fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

fn read_error(path: &Path, compression: Compression, line: u64, error: io::Error) -> DataError {
    match compression {
        Compression::Plain => DataError::Io { path: path.into(), source: error },
        _ => DataError::Damaged { path: path.into(), line, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests;
