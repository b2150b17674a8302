use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

/// Long texts are encoded in pieces of about this many bytes. An encoding takes about fifty times its text while it is
/// made, so this bounds the memory; and the pieces of one document can be encoded at the same time.
const PIECE_BYTES: usize = 16 << 10;

/// Whether a text may be cut right before a white space that follows an ASCII letter or digit, and each piece encoded
/// alone, with the same ids as the whole.
///
/// It may with the byte-level words of GPT-2, of which none goes from a letter or digit into white space and none looks
/// back; NFC composes nothing with white space. Other tokenizers are not looked into and get whole texts.
pub(crate) fn can_cut(tokenizer: &Tokenizer) -> bool {
    let words = matches!(
        tokenizer.get_pre_tokenizer(),
        Some(PreTokenizerWrapper::ByteLevel(bytes)) if bytes.use_regex && !bytes.add_prefix_space
    );
    let normalizer = matches!(tokenizer.get_normalizer(), None | Some(NormalizerWrapper::NFC(_)));
    // Tokens that were added are looked for before words are cut.
    let added = tokenizer.get_added_tokens_decoder();
    let within = |text: &str| text.as_bytes().windows(2).any(|pair| is_cut(pair[0], pair[1]));
    words && normalizer && !added.values().any(|token| token.rstrip || within(&token.content))
}

/// The text in pieces, whole if it is short or has no place to cut.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    pieces_of(text, PIECE_BYTES)
}

fn pieces_of(text: &str, bytes: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let cut = text.as_bytes().windows(2).skip(bytes - 1).position(|pair| is_cut(pair[0], pair[1]));
        // The cut is before the second of the two bytes, and both are ASCII.
        let Some((piece, after)) = cut.and_then(|at| text.split_at_checked(bytes + at)) else {
            return Some(text);
        };
        rest = Some(after);
        Some(piece)
    })
}

fn is_cut(before: u8, after: u8) -> bool {
    before.is_ascii_alphanumeric() && after.is_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_text() {
        let text = "one two, three\n four é é  five6 \t7 8";
        for bytes in 1..text.len() + 2 {
            let found: Vec<_> = pieces_of(text, bytes).collect();
            assert_eq!(found.concat(), text);
            let rest = &found[..found.len() - 1];
            assert!(
                rest.iter().all(|piece| piece.len() >= bytes && piece.ends_with(|c: char| c.is_ascii_alphanumeric()))
            );
        }
        assert_eq!(
            pieces_of(text, 1).collect::<Vec<_>>(),
            ["one", " two, three", "\n four", " é é  five6", " \t7", " 8"]
        );
        assert_eq!(pieces("").collect::<Vec<_>>(), [""]);
    }
}
