use crate::{DataError, Document};

/// The first `bytes` bytes of text: the document that goes over is cut at a character, and nothing is read after it.
///
/// Errors pass through and count nothing.
pub fn limit_bytes<I>(documents: I, bytes: u64) -> impl Iterator<Item = Result<Document, DataError>> + use<I>
where
    I: IntoIterator<Item = Result<Document, DataError>>,
{
    let mut documents = documents.into_iter();
    let mut left = bytes;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let mut item = documents.next()?;
        if let Ok(document) = &mut item {
            if document.text.len() as u64 >= left {
                // `left` is no more than the length, so it fits.
                let cut = document.text.floor_char_boundary(left as usize);
                document.text.truncate(cut);
                left = 0;
                if cut == 0 {
                    return None;
                }
            } else {
                left -= document.text.len() as u64;
            }
        }
        Some(item)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_document_is_cut_at_a_character() {
        let texts = ["abc", "", "dé", "never"];
        let limited = |bytes| {
            let documents = texts.iter().map(|&text| Ok(Document::new(text)));
            limit_bytes(documents, bytes).map(|item| item.unwrap().text).collect::<Vec<_>>()
        };
        assert!(limited(0).is_empty());
        assert_eq!(limited(2), ["ab"]);
        assert_eq!(limited(3), ["abc"]);
        assert_eq!(limited(4), ["abc", "", "d"]);
        assert_eq!(limited(5), ["abc", "", "d"]);
        assert_eq!(limited(6), ["abc", "", "dé"]);
        assert_eq!(limited(100), texts);
    }
}
