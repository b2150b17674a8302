use tokenizers::{NormalizerWrapper, Tokenizer};

use crate::pieces::can_cut;

/// Which texts of a tokenizer may be encoded word by word, each word alone, with the same ids as the whole.
#[derive(Debug, Clone)]
pub(crate) struct WordRules {
    /// Whether text is brought into Unicode's form NFC first.
    nfc: bool,
    /// Added tokens that plain text can spell, without those that hold another one.
    added: Vec<String>,
}

impl WordRules {
    /// The rules of a tokenizer that cuts words as GPT-2 does; `None` for others.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        if !can_cut(tokenizer) {
            return None;
        }
        let spelled = tokenizer.get_added_tokens_decoder().into_values().filter(|token| !token.special);
        let mut all: Vec<String> = spelled.map(|token| token.content).filter(|token| !token.is_empty()).collect();
        all.sort_by_key(String::len);
        let mut added: Vec<String> = Vec::new();
        for token in all {
            if !added.iter().any(|shorter| token.contains(shorter.as_str())) {
                added.push(token);
            }
        }
        Some(Self { nfc: matches!(tokenizer.get_normalizer(), Some(NormalizerWrapper::NFC(_))), added })
    }

    /// Whether nothing of a text is changed before it is cut, and no added token is in it.
    pub(crate) fn allow(&self, text: &str) -> bool {
        (!self.nfc || text.chars().all(is_nfc)) && !self.added.iter().any(|token| text.contains(token.as_str()))
    }
}

/// Whether NFC leaves a character as it is, whatever stands beside it. True of Latin letters and of the usual punctuation
/// beyond ASCII (dashes, quotation marks, bullet, ellipsis); of the rest, nothing is said.
fn is_nfc(char: char) -> bool {
    matches!(char, '\0'..='\u{2ff}' | '\u{2010}'..='\u{2027}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_changed_or_spells_an_added_token_is_not_for_words() {
        let rules = WordRules { nfc: true, added: vec!["  ".into(), "<x>".into()] };
        assert!(rules.allow("It’s “plain” é text — all of it…"));
        for text in ["e\u{301}", "two  blanks", "a<x>b", "\u{212b}", "日本"] {
            assert!(!rules.allow(text), "{text}");
        }
        let rules = WordRules { nfc: false, added: vec![] };
        assert!(rules.allow("e\u{301} two  blanks"));
    }

    /// What [`is_nfc`] allows, the library's normaliser leaves alone, even beside a combining mark of its own.
    #[test]
    fn allowed_characters_are_left_alone() {
        use tokenizers::{NormalizedString, Normalizer, normalizers::unicode::NFC};
        let allowed: Vec<char> = ('\0'..='\u{ffff}').filter(|char| is_nfc(*char)).collect();
        assert!(allowed.len() > 700);
        let text: String = allowed.iter().flat_map(|char| [*char, 'a', *char, 'o']).collect();
        let mut normalized = NormalizedString::from(text.as_str());
        NFC.normalize(&mut normalized).unwrap();
        assert_eq!(normalized.get(), text);
    }
}
