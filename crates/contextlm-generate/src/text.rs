use crate::GenerateError;

/// Turns tokens into text: a tokenizer, or a closure `|tokens: &[u32]| -> Result<String, String>`.
///
/// Bytes that are no UTF-8, such as those of half a character, become U+FFFD.
pub trait Decode {
    /// The text of the tokens.
    ///
    /// # Errors
    /// Why they have none, in words.
    fn decode(&self, tokens: &[u32]) -> Result<String, String>;
}

impl<F: Fn(&[u32]) -> Result<String, String>> Decode for F {
    fn decode(&self, tokens: &[u32]) -> Result<String, String> {
        self(tokens)
    }
}

/// Text of a growing sequence of tokens, in pieces that never split a character.
///
/// Tokens are decoded together with those of the piece before, because some tokenizers treat the first one in a text
/// in another way. A text that ends in U+FFFD may be half a character, and waits for the next token.
///
/// Decoders with byte fallback (Llama 2, Mistral) make U+FFFD of every byte of a run that is no UTF-8 as a whole, also of
/// characters that were given already. What follows the text that both have in common is given then.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextPieces {
    tokens: Vec<u32>,
    /// Tokens before it are part of pieces; those from `context` on are decoded along.
    given: usize,
    context: usize,
}

impl TextPieces {
    /// The text that this token completes; empty while a character is incomplete.
    pub fn push<D: Decode>(&mut self, token: u32, decode: &D) -> Result<String, GenerateError> {
        self.tokens.push(token);
        let text = self.waiting(decode)?;
        if text.is_empty() || text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        self.tokens.drain(..self.context);
        self.context = self.given - self.context;
        self.given = self.tokens.len();
        Ok(text)
    }

    /// The text that no further token completes.
    pub fn finish<D: Decode>(&mut self, decode: &D) -> Result<String, GenerateError> {
        let text = if self.given < self.tokens.len() { self.waiting(decode)? } else { String::new() };
        *self = Self::default();
        Ok(text)
    }

    /// The text of the tokens that are not part of a piece yet.
    fn waiting<D: Decode>(&self, decode: &D) -> Result<String, GenerateError> {
        let decode = |tokens| decode.decode(tokens).map_err(|reason| GenerateError::Decode { reason });
        let before = decode(&self.tokens[self.context..self.given])?;
        let all = decode(&self.tokens[self.context..])?;
        let same = all.chars().zip(before.chars()).take_while(|(all, before)| all == before);
        let common: usize = same.map(|(character, _)| character.len_utf8()).sum();
        Ok(all[common..].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(tokens: &[u32]) -> Result<String, String> {
        let bytes: Vec<u8> = tokens.iter().map(|&token| token as u8).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn pieces(tokens: &[u32], decode: impl Decode) -> Vec<String> {
        let mut text = TextPieces::default();
        let mut all: Vec<String> = tokens.iter().map(|&token| text.push(token, &decode).unwrap()).collect();
        all.push(text.finish(&decode).unwrap());
        all
    }

    fn tokens(text: &[u8]) -> Vec<u32> {
        text.iter().map(|&byte| byte.into()).collect()
    }

    #[test]
    fn characters_come_whole() {
        let text = "aé€😀z";
        let found = pieces(&tokens(text.as_bytes()), bytes);
        assert_eq!(found, ["a", "", "é", "", "", "€", "", "", "", "😀", "z", ""]);
    }

    #[test]
    fn bytes_that_are_no_text_come_at_the_end_or_with_what_follows() {
        assert_eq!(pieces(&tokens(b"a\xf0\x9f"), bytes), ["a", "", "", "\u{fffd}"]);
        assert_eq!(pieces(&tokens(b"\xffa"), bytes), ["", "\u{fffd}a", ""]);
    }

    /// Tokens below 256 are bytes, whose runs are UTF-8 as a whole or U+FFFD for every byte; others are letters.
    fn byte_fallback(tokens: &[u32]) -> Result<String, String> {
        let run = |bytes: Vec<u8>| {
            let count = bytes.len();
            String::from_utf8(bytes).unwrap_or_else(|_| "\u{fffd}".repeat(count))
        };
        let (mut text, mut bytes) = (String::new(), Vec::new());
        for &token in tokens {
            match u8::try_from(token) {
                Ok(byte) => bytes.push(byte),
                Err(_) => {
                    text += &run(std::mem::take(&mut bytes));
                    text.extend(char::from_u32(token - 256));
                }
            }
        }
        Ok(text + &run(bytes))
    }

    #[test]
    fn byte_fallback_loses_nothing_after_bytes_that_are_no_text() {
        let letter = |letter: char| u32::from(letter) + 256;
        assert_eq!(pieces(&[0xc3, 0xa9, 0xc3, 0xa8, letter('a')], byte_fallback), ["", "é", "", "è", "a", ""]);
        // The byte makes the character before it, which was given, unreadable too.
        let found = pieces(&[0xc3, 0xa9, 0xf0, letter('a'), letter('b')], byte_fallback);
        assert_eq!(found, ["", "é", "", "\u{fffd}\u{fffd}\u{fffd}a", "b", ""]);
        assert_eq!(pieces(&[letter('a'), 0xc3], byte_fallback), ["a", "", "\u{fffd}"]);
    }

    #[test]
    fn a_decoder_may_leave_out_the_space_before_the_first_token() {
        let words = |tokens: &[u32]| -> Result<String, String> {
            let text: String = tokens.iter().map(|token| format!(" w{token}")).collect();
            Ok(text.trim_start().to_owned())
        };
        assert_eq!(pieces(&[1, 2, 3], words), ["w1", " w2", " w3", ""]);
    }
}
