use std::ffi::OsStr;
use std::path::Path;

/// The extensions that are read, for messages.
#[cfg(not(feature = "parquet"))]
pub(crate) const KNOWN: &str = ".txt, .md, .rs, .jsonl, each also with .gz or .zst";
#[cfg(feature = "parquet")]
pub(crate) const KNOWN: &str = ".txt, .md, .rs, .jsonl, each also with .gz or .zst; .parquet";

/// How a file holds its documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The file is one document.
    Whole,
    /// Every line is a JSON object that holds one.
    JsonLines,
    /// Every row of a table holds one in a column.
    #[cfg(feature = "parquet")]
    Parquet,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

/// What the name of a file says about its content; `None` where it says nothing that is known.
pub(crate) fn format_of(path: &Path) -> Option<(Layout, Compression)> {
    let compression = compression_of(path);
    let rest = match compression {
        Compression::Plain => path.to_path_buf(),
        _ => path.with_extension(""),
    };
    let layout = match extension(&rest)?.as_str() {
        "txt" | "md" | "rs" => Layout::Whole,
        "jsonl" => Layout::JsonLines,
        // Its columns are compressed inside.
        #[cfg(feature = "parquet")]
        "parquet" if compression == Compression::Plain => Layout::Parquet,
        _ => return None,
    };
    Some((layout, compression))
}

/// How a file of any content is compressed, by the end of its name.
pub(crate) fn compression_of(path: &Path) -> Compression {
    match extension(path).as_deref() {
        Some("gz") => Compression::Gzip,
        Some("zst") => Compression::Zstd,
        _ => Compression::Plain,
    }
}

fn extension(path: &Path) -> Option<String> {
    path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_inside() {
        let of = |name: &str| format_of(Path::new(name));
        assert_eq!(of("a.txt"), Some((Layout::Whole, Compression::Plain)));
        assert_eq!(of("dir.jsonl/a.b.MD.gz"), Some((Layout::Whole, Compression::Gzip)));
        assert_eq!(of("a.jsonl.zst"), Some((Layout::JsonLines, Compression::Zstd)));
        #[cfg(feature = "parquet")]
        assert_eq!((of("a.parquet"), of("a.parquet.gz")), (Some((Layout::Parquet, Compression::Plain)), None));
        for unknown in ["a", ".txt", "a.gz", "a.pdf", "a.txt.bz2", "a.gz.txt.gz.zst", "txt.zst"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }
}
