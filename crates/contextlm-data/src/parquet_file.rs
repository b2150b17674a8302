use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::guard::guard_of;
use crate::parquet_file::page_limit::PageLimit;
use crate::{DataError, Document};

mod page_limit;
mod records;

pub(crate) use records::ParquetRecords;

/// A page that unpacks to more is refused. Writers make pages of about 1 MiB, or of one value.
const MAX_PAGE_BYTES: u64 = 256 << 20;

/// Rows that are decoded at once.
const ROWS: usize = 64;

/// The texts of a column of a Parquet file, row after row.
pub(crate) struct ParquetFile {
    path: Arc<Path>,
    key: String,
    file: SerializedFileReader<PageLimit>,
    /// The column.
    column: usize,
    /// The definition level of a value that is there.
    present: i16,
    /// Row groups that were begun.
    groups: usize,
    reader: Option<ColumnReaderImpl<ByteArrayType>>,
    /// Rows that are decoded but not taken, the last one first; `None` for null.
    rows: Vec<Option<ByteArray>>,
    /// Rows that were taken.
    row: u64,
}

impl ParquetFile {
    /// Opens a file with a column `key` of strings; a column in a group is named `group.column`.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::Damaged`], [`DataError::MissingKey`], [`DataError::NotAString`], [`DataError::Codec`].
    pub(crate) fn open(path: &Path, key: &str) -> Result<Self, DataError> {
        Self::open_limited(path, key, MAX_PAGE_BYTES)
    }

    /// The same with another limit of the size of a page.
    fn open_limited(path: &Path, key: &str, most: u64) -> Result<Self, DataError> {
        let file = open_limited(path, most)?;
        let schema = file.metadata().file_metadata().schema_descr();
        let Some((column, found)) =
            schema.columns().iter().enumerate().find(|(_, column)| column.path().string() == key)
        else {
            return Err(DataError::MissingKey { path: path.into(), line: 1, key: key.into() });
        };
        if found.physical_type() != Type::BYTE_ARRAY || found.max_rep_level() > 0 {
            let found = if found.max_rep_level() > 0 { "an array" } else { "a column of another type" };
            return Err(DataError::NotAString { path: path.into(), line: 1, key: key.into(), found });
        }
        let present = found.max_def_level();
        check_codecs(path, &file, |number| number == column)?;
        let (path, key) = (path.into(), key.into());
        Ok(Self { path, key, file, column, present, groups: 0, reader: None, rows: Vec::new(), row: 0 })
    }

    /// The text of the next row; `None` at the end.
    ///
    /// # Errors
    /// [`DataError::Damaged`], after which there is no next row; of a row alone, [`DataError::NotUtf8`],
    /// [`DataError::NotAString`] for null, [`DataError::TooLong`].
    pub(crate) fn next_row(&mut self, limit: u64) -> Result<Option<Document>, DataError> {
        if self.rows.is_empty() {
            guard_of("parquet", || self.decode()).map_err(|reason| damaged(&self.path, self.row + 1, reason))?;
        }
        let Some(value) = self.rows.pop() else {
            return if self.row > 0 { Ok(None) } else { Err(DataError::EmptyFile { path: self.path.to_path_buf() }) };
        };
        self.row += 1;
        let (path, line) = (|| self.path.to_path_buf(), self.row);
        let Some(value) = value else {
            return Err(DataError::NotAString { path: path(), line, key: self.key.clone(), found: "null" });
        };
        if value.len() as u64 > limit {
            return Err(DataError::TooLong { path: path(), line, limit });
        }
        match std::str::from_utf8(value.data()) {
            Ok(text) => Ok(Some(Document { text: text.into(), path: self.path.clone(), line })),
            Err(_) => Err(DataError::NotUtf8 { path: path(), line }),
        }
    }

    /// Decodes the next rows, if there are any.
    fn decode(&mut self) -> Result<(), ParquetError> {
        loop {
            if let Some(reader) = &mut self.reader {
                let (mut levels, mut values) = (Vec::new(), Vec::new());
                let (rows, ..) = reader.read_records(ROWS, Some(&mut levels), None, &mut values)?;
                if rows > 0 {
                    let mut values = values.into_iter();
                    // A column without nulls has no levels.
                    let is_there = |row: usize| levels.get(row).is_none_or(|level| *level == self.present);
                    self.rows = (0..rows).map(|row| if is_there(row) { values.next() } else { None }).collect();
                    self.rows.reverse();
                    return Ok(());
                }
            }
            if self.groups == self.file.num_row_groups() {
                return Ok(());
            }
            let group = self.file.get_row_group(self.groups)?;
            self.groups += 1;
            self.reader = match group.get_column_reader(self.column)? {
                ColumnReader::ByteArrayColumnReader(reader) => Some(reader),
                _ => return Err(ParquetError::General("the column changes its type".into())),
            };
        }
    }
}

/// Opens a file whose pages are refused if they unpack to more than so many bytes.
fn open_limited(path: &Path, most: u64) -> Result<SerializedFileReader<PageLimit>, DataError> {
    let file = File::open(path).map_err(|source| DataError::Io { path: path.into(), source })?;
    if file.metadata().map_err(|source| DataError::Io { path: path.into(), source })?.len() == 0 {
        return Err(DataError::EmptyFile { path: path.into() });
    }
    let file = PageLimit { file, most };
    guard_of("parquet", || SerializedFileReader::new(file)).map_err(|reason| damaged(path, 1, reason))
}

/// Refuses codecs that are not built in, of the columns that are read.
fn check_codecs(
    path: &Path,
    file: &SerializedFileReader<PageLimit>,
    read: impl Fn(usize) -> bool,
) -> Result<(), DataError> {
    for group in file.metadata().row_groups() {
        for (_, chunk) in group.columns().iter().enumerate().filter(|(number, _)| read(*number)) {
            let codec = match chunk.compression() {
                Compression::BROTLI(_) => "BROTLI",
                Compression::LZO => "LZO",
                _ => continue,
            };
            return Err(DataError::Codec { path: path.into(), codec });
        }
    }
    Ok(())
}

fn damaged(path: &Path, line: u64, reason: String) -> DataError {
    DataError::Damaged { path: path.into(), line, reason }
}

#[cfg(test)]
mod tests;
