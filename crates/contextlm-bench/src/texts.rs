use std::io::{BufWriter, Write};
use std::path::PathBuf;

use contextlm_data::{ReadOptions, read_documents};
use tempfile::NamedTempFile;

use crate::BenchError;

/// The documents of files and folders as one file of JSON lines, which both sides read: a peer knows fewer formats.
pub(crate) fn one_file(inputs: &[PathBuf]) -> Result<NamedTempFile, BenchError> {
    let io = |source| BenchError::Io { what: "temporary file".into(), source };
    let failed = |error: contextlm_data::DataError| BenchError::setting("--text", "", error.to_string());
    let file = tempfile::Builder::new().suffix(".jsonl").tempfile().map_err(io)?;
    let mut out = BufWriter::new(&file);
    for document in read_documents(inputs, &ReadOptions::default()).map_err(failed)? {
        let text = document.map_err(failed)?.text;
        writeln!(out, "{}", serde_json::json!({ "text": text })).map_err(io)?;
    }
    out.flush().map_err(io)?;
    drop(out);
    Ok(file)
}
