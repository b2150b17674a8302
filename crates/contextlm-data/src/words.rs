//! The words of GPT-2's byte-level tokenizers, without a regular expression.
//!
//! GPT-2 cuts text by `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, and encodes every word
//! alone. The library runs that expression and keeps offsets; this walk gives the same words many times faster.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, Ordering};

use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

/// What the expression takes a character for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter = 1,
    Number,
    Space,
    Other,
}

/// The words of a text, which together are the text.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (word, after) = rest.split_at(first_word(rest));
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

/// The length of the first word in bytes; 0 of no text.
fn first_word(text: &str) -> usize {
    if let Some(length) = contraction(text) {
        return length;
    }
    let Some((first, class)) = class_at(text, 0) else { return 0 };
    // One blank goes with what follows it, if that is no white space.
    let (start, class) = match class_at(text, 1) {
        Some((_, next)) if text.starts_with(' ') && next != Class::Space => (1, next),
        _ => (0, class),
    };
    if class != Class::Space {
        return run(text, start, class).0;
    }
    // White space leaves its last character to what follows it, unless that is all there is of it.
    let (end, last) = run(text, 0, class);
    if end == text.len() || last == 0 { end.max(first) } else { last }
}

/// The end of a run of characters of one class, and where its last character begins.
fn run(text: &str, start: usize, class: Class) -> (usize, usize) {
    let (mut end, mut last) = (start, start);
    while let Some((length, _)) = class_at(text, end).filter(|(_, found)| *found == class) {
        last = end;
        end += length;
    }
    (end, last)
}

fn contraction(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [b'\'', b's' | b't' | b'm' | b'd', ..] => Some(2),
        [b'\'', b'r' | b'v', b'e', ..] | [b'\'', b'l', b'l', ..] => Some(3),
        _ => None,
    }
}

/// The character at a place: its length in bytes, and its class.
fn class_at(text: &str, at: usize) -> Option<(usize, Class)> {
    let byte = *text.as_bytes().get(at)?;
    let class = match byte {
        b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
        b'0'..=b'9' => Class::Number,
        b' ' | b'\t'..=b'\r' => Class::Space,
        0..0x80 => Class::Other,
        _ => return text.get(at..)?.chars().next().map(|char| (char.len_utf8(), class_beyond_ascii(char))),
    };
    Some((1, class))
}

/// The class of a character beyond ASCII is asked of the library once, so that both have the same tables of Unicode.
fn class_beyond_ascii(char: char) -> Class {
    static CLASSES: LazyLock<Vec<AtomicU8>> =
        LazyLock::new(|| (0..=u32::from(char::MAX)).map(|_| AtomicU8::new(0)).collect());
    let place = &CLASSES[u32::from(char) as usize];
    let known = [Class::Letter, Class::Number, Class::Space, Class::Other];
    let found = place.load(Ordering::Relaxed);
    if let Some(class) = known.into_iter().find(|class| *class as u8 == found) {
        return class;
    }
    let together = |before: char| {
        let mut text = PreTokenizedString::from(format!("{before}{char}"));
        let done = ByteLevel::new(false, false, true).pre_tokenize(&mut text);
        done.is_ok() && text.get_splits(OffsetReferential::Original, OffsetType::None).len() == 1
    };
    let class = match () {
        () if together('a') => Class::Letter,
        () if together('1') => Class::Number,
        () if together('!') => Class::Other,
        () => Class::Space,
    };
    place.store(class as u8, Ordering::Relaxed);
    class
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words that the library makes.
    fn expected(text: &str) -> Vec<String> {
        let mut cut = PreTokenizedString::from(text);
        ByteLevel::new(false, false, true).pre_tokenize(&mut cut).unwrap();
        let splits = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (from, to), _)| text[from..to].to_string()).collect()
    }

    #[test]
    fn words_are_those_of_the_expression() {
        for text in [
            "",
            " ",
            "  ",
            "\n",
            "Hello, world! It's 2026.",
            "a  b   c\n\n d\t e \n",
            "'s 's !'s I'll we've 'tis 'LL 're'l",
            "x\u{a0}y\u{3000} z  \u{a0}q\u{85}",
            "é e\u{301} 1²½ Ⅷ Ⅷa٣ “quoted” — dash… ’s it’s",
            "日本語 テキスト 123 हिन्दी ไทย",
            "🙂🙂 a🙂 👩‍👩‍👧",
            "   'd",
        ] {
            assert_eq!(words(text).collect::<Vec<_>>(), expected(text), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn of_any_text_too(text in "\\PC*|[a-c '\\n\\t1!é’ー\u{a0}\u{301}]{0,40}|[ \\n\u{2003}xsl']{0,12}") {
            assert_eq!(words(&text).collect::<Vec<_>>(), expected(&text));
        }
    }
}
