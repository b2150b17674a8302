use std::path::Path;
use std::sync::Arc;

/// One text, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The text.
    pub text: String,
    /// The file; `<text>` where there is none.
    pub path: Arc<Path>,
    /// The line of the file, from 1, on which the document begins; of a Parquet file the row.
    pub line: u64,
}

impl Document {
    /// A document that comes from no file.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), path: Path::new("<text>").into(), line: 1 }
    }
}
