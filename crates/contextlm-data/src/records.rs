use std::path::Path;

#[cfg(feature = "parquet")]
use crate::format::{Layout, format_of};
use crate::json_lines::Numbered;
#[cfg(feature = "parquet")]
use crate::parquet_file::ParquetRecords;
use crate::{DataError, JsonLines, read_json_lines};

/// The records of a file with their numbers from 1, one after the other: the objects of JSON lines with the numbers of their
/// lines, or, with the feature `parquet`, the rows of a .parquet file. The iterator ends after the first error.
///
/// Of a Parquet file's row, lists are arrays, groups are objects, and a float that is no number is null.
///
/// # Errors
/// As [`read_json_lines`]; of a Parquet file [`DataError::Io`], [`DataError::Damaged`], [`DataError::Codec`] at once, and
/// [`DataError::EmptyFile`], [`DataError::Damaged`] as items.
pub fn read_records(path: impl AsRef<Path>) -> Result<Records, DataError> {
    #[cfg(feature = "parquet")]
    if matches!(format_of(path.as_ref()), Some((Layout::Parquet, _))) {
        return Ok(Records(Source::Parquet(Some(Box::new(ParquetRecords::open(path.as_ref())?)))));
    }
    Ok(Records(Source::Lines(read_json_lines(path)?)))
}

/// The iterator of [`read_records`].
pub struct Records(Source);

enum Source {
    Lines(JsonLines),
    #[cfg(feature = "parquet")]
    Parquet(Option<Box<ParquetRecords>>),
}

impl Iterator for Records {
    type Item = Result<Numbered, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Lines(lines) => lines.next(),
            #[cfg(feature = "parquet")]
            Source::Parquet(open) => {
                let item = open.as_mut()?.next_record().transpose();
                if !matches!(item, Some(Ok(_))) {
                    *open = None;
                }
                item
            }
        }
    }
}
