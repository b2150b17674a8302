use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Number, Value};

use super::{MAX_PAGE_BYTES, PageLimit, ROWS, check_codecs, damaged, open_limited};
use crate::DataError;
use crate::guard::guard_of;
use crate::json_lines::Numbered;

/// The rows of a Parquet file as JSON objects: lists are arrays, groups are objects.
pub(crate) struct ParquetRecords {
    path: Arc<Path>,
    rows: RowIter<'static>,
    /// Rows that were taken.
    row: u64,
}

impl ParquetRecords {
    /// Opens a file.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::EmptyFile`], [`DataError::Damaged`], [`DataError::Codec`].
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let file = open_limited(path, MAX_PAGE_BYTES)?;
        check_codecs(path, &file, |_| true)?;
        check_counts(&file).map_err(|reason| damaged(path, 1, reason))?;
        let rows = RowIter::from_file_into(Box::new(file)).with_batch_size(ROWS);
        Ok(Self { path: path.into(), rows, row: 0 })
    }

    /// The next row, and its number from 1; `None` at the end.
    ///
    /// # Errors
    /// [`DataError::EmptyFile`] where there is none at all, [`DataError::Damaged`], after which there is no next row.
    pub(crate) fn next_record(&mut self) -> Result<Option<Numbered>, DataError> {
        let rows = &mut self.rows;
        let row = guard_of("parquet", || rows.next().transpose())
            .map_err(|reason| damaged(&self.path, self.row + 1, reason))?;
        let Some(row) = row else {
            return if self.row > 0 { Ok(None) } else { Err(DataError::EmptyFile { path: self.path.to_path_buf() }) };
        };
        self.row += 1;
        Ok(Some((self.row, object(&row))))
    }
}

/// The library gives as many rows as a group says that it has, and nulls where a column ends before.
fn check_counts(file: &SerializedFileReader<PageLimit>) -> Result<(), String> {
    for (number, group) in file.metadata().row_groups().iter().enumerate() {
        let flat = group.columns().iter().filter(|chunk| chunk.column_descr().max_rep_level() == 0);
        if let Some(wrong) = flat.into_iter().find(|chunk| chunk.num_values() != group.num_rows()) {
            let (rows, values, column) = (group.num_rows(), wrong.num_values(), wrong.column_path().string());
            return Err(format!("row group {number} has {rows} rows, its column {column} {values} values"));
        }
    }
    Ok(())
}

fn object(row: &Row) -> Map<String, Value> {
    row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        Field::Float(value) => Number::from_f64((*value).into()).into(),
        Field::Double(value) => Number::from_f64(*value).into(),
        Field::Str(value) => value.as_str().into(),
        // Some writers do not say that a column is text.
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).ok().into(),
        Field::Group(row) => object(row).into(),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        // Dates, decimals and maps, as they are written.
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests;
