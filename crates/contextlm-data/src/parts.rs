use crate::documents::newlines;
use crate::split::hash;
use crate::{DataError, Document};

/// The parts of a document, in order, of at most so many bytes: each ends after the last line that fits, or else after the
/// last character.
pub(crate) struct Parts {
    whole: Document,
    /// The hash of its text.
    hash: u64,
    bytes: usize,
    /// Where the next part begins.
    at: usize,
    /// The line on which it does.
    line: u64,
}

impl Parts {
    pub(crate) fn new(whole: Document, bytes: usize) -> Self {
        let (hash, line) = (hash(whole.text.as_bytes()), whole.line);
        Self { whole, hash, bytes, at: 0, line }
    }

    /// The hash of the whole text, so that all parts fall on one side of a split.
    pub(crate) fn whole_hash(&self) -> u64 {
        self.hash
    }
}

impl Iterator for Parts {
    type Item = Document;

    fn next(&mut self) -> Option<Document> {
        let rest = &self.whole.text[self.at..];
        // A first character of more bytes stays whole.
        let first = rest.chars().next()?.len_utf8();
        let fits = &rest[..rest.floor_char_boundary(self.bytes)];
        let end = match fits.rfind('\n') {
            _ if fits.len() == rest.len() => fits.len(),
            Some(newline) => newline + 1,
            None => fits.len().max(first),
        };
        // A copy of its own: what is kept of the whole would else be kept by every part.
        let part = Document { text: rest[..end].to_owned(), path: self.whole.path.clone(), line: self.line };
        self.line += newlines(part.text.as_bytes());
        self.at += end;
        Some(part)
    }
}

/// # Errors
/// [`DataError::BatchShape`] for 0.
pub(crate) fn refuse_no_part(part_bytes: Option<usize>) -> Result<(), DataError> {
    match part_bytes {
        Some(0) => Err(DataError::BatchShape { key: "part_bytes", value: 0, fix: "use 1 or more".into() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_keeps_no_more_than_its_text() {
        let text = "a line of text\n".repeat(1000);
        let parts: Vec<_> = Parts::new(Document::new(text.clone()), 100).collect();
        assert_eq!(parts.iter().map(|part| part.text.as_str()).collect::<String>(), text);
        assert!(parts.iter().all(|part| part.text.capacity() <= 100), "{}", parts[0].text.capacity());
        assert_eq!(parts[1].line, 7);
    }

    #[test]
    fn no_bytes_are_refused() {
        let refused = refuse_no_part(Some(0)).unwrap_err().to_string();
        assert_eq!(refused, "part_bytes = 0: use 1 or more");
        assert!(refuse_no_part(None).and(refuse_no_part(Some(1))).is_ok());
    }
}
