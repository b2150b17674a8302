use std::path::Path;

use serde_json::{Map, Value};

use crate::DataError;
use crate::documents::TextFile;
use crate::format::{KNOWN, Layout};

/// The number of a line, from 1, and its object.
pub(crate) type Numbered = (u64, Map<String, Value>);

/// A line of more bytes is an error.
const MAX_LINE: u64 = 1 << 28;

/// The objects of a file of JSON lines with their line numbers from 1, one after the other; blank lines are passed over.
///
/// The file is .jsonl, or .jsonl.gz or .jsonl.zst. The iterator ends after the first error.
///
/// # Errors
/// At once: [`DataError::UnknownExtension`], [`DataError::Io`], [`DataError::Damaged`]. As items, beside these:
/// [`DataError::EmptyFile`], [`DataError::Json`], [`DataError::NotUtf8`], [`DataError::TooLong`].
pub fn read_json_lines(path: impl AsRef<Path>) -> Result<JsonLines, DataError> {
    let path = path.as_ref();
    let file = TextFile::open(path)?;
    match file.layout {
        Layout::JsonLines => Ok(JsonLines { file: Some(file), buffer: Vec::new() }),
        _ => Err(DataError::UnknownExtension { path: path.into(), known: KNOWN }),
    }
}

/// The iterator of [`read_json_lines`].
pub struct JsonLines {
    file: Option<TextFile>,
    buffer: Vec<u8>,
}

impl Iterator for JsonLines {
    type Item = Result<Numbered, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = next(self.file.as_mut()?, &mut self.buffer).transpose();
        if !matches!(item, Some(Ok(_))) {
            self.file = None;
        }
        item
    }
}

fn next(file: &mut TextFile, buffer: &mut Vec<u8>) -> Result<Option<Numbered>, DataError> {
    let Some(text) = file.next_text(buffer, MAX_LINE)? else { return Ok(None) };
    match serde_json::from_str(text) {
        Ok(object) => Ok(Some((file.line(), object))),
        Err(error) => {
            // The parser counts lines within this one line.
            let message = error.to_string();
            let reason = message.split(" at line ").next().unwrap_or_default();
            let reason = format!("{reason} (column {})", error.column());
            Err(DataError::Json { path: file.path.to_path_buf(), line: file.line(), reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn objects_come_with_their_lines_and_the_first_error_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        fs::write(&path, "{\"a\": 1}\n\n{\"a\": \"é\"}\n[3]\n{\"a\": 4}\n").unwrap();
        let mut lines = read_json_lines(&path).unwrap();
        assert_eq!(lines.next().unwrap().unwrap().0, 1);
        let (line, object) = lines.next().unwrap().unwrap();
        assert_eq!((line, &object["a"]), (3, &Value::from("é")));
        let error = lines.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("a.jsonl, line 4: not a JSON object"), "{error}");
        assert!(lines.next().is_none());

        fs::write(&path, "\n").unwrap();
        assert!(matches!(read_json_lines(&path).unwrap().next(), Some(Err(DataError::EmptyFile { .. }))));
        fs::write(folder.path().join("a.txt"), "x").unwrap();
        assert!(matches!(read_json_lines(folder.path().join("a.txt")), Err(DataError::UnknownExtension { .. })));
        assert!(matches!(read_json_lines(folder.path().join("b.jsonl")), Err(DataError::Io { .. })));
    }
}
