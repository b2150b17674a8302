use std::fs;
use std::path::Path;

use contextlm_data::Tokenizer;
use serde_json::Value;

use crate::EvalError;
use crate::python::is_space;
use crate::score::Request;

/// Turns texts into requests as lm-evaluation-harness does.
#[derive(Debug, Clone)]
pub struct Encoder {
    tokenizer: Tokenizer,
    prefix: u32,
    end_of_text: Option<u32>,
    special: bool,
}

impl Encoder {
    /// With the tokenizer of a model directory. What has no context is given the begin-of-text id, or else the
    /// end-of-text id, that tokenizer_config.json or special_tokens_map.json name; without these files, the
    /// tokenizer's end of text. `special`: texts get the special tokens that the tokenizer's file puts around them.
    ///
    /// # Errors
    /// [`EvalError::Data`] without a tokenizer or an end-of-text id; [`EvalError::File`], [`EvalError::Example`] for
    /// files that cannot be read.
    pub fn from_dir(dir: &Path, special: bool) -> Result<Self, EvalError> {
        let tokenizer = Tokenizer::from_dir(dir)?;
        let end_of_text = named(dir, "eos_token", &tokenizer)?.or_else(|| tokenizer.end_of_text().ok());
        let prefix = match named(dir, "bos_token", &tokenizer)?.or(end_of_text) {
            Some(prefix) => prefix,
            None => tokenizer.end_of_text()?,
        };
        Ok(Self { tokenizer, prefix, end_of_text, special })
    }

    /// With this tokenizer and its end-of-text id, and no special tokens.
    ///
    /// # Errors
    /// [`EvalError::Data`] if it has no end-of-text id.
    pub fn new(tokenizer: Tokenizer) -> Result<Self, EvalError> {
        let prefix = tokenizer.end_of_text()?;
        Ok(Self { tokenizer, prefix, end_of_text: Some(prefix), special: false })
    }

    /// The id that stands where there is no context.
    pub fn prefix(&self) -> u32 {
        self.prefix
    }

    /// The id that ends a text; of a tokenizer that has a begin of text, there may be none.
    pub fn end_of_text(&self) -> Option<u32> {
        self.end_of_text
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The ids of a text.
    ///
    /// # Errors
    /// [`EvalError::Data`].
    pub fn text(&self, text: &str) -> Result<Vec<u32>, EvalError> {
        Ok(if self.special { self.tokenizer.encode_with_special(text)? } else { self.tokenizer.encode(text)? })
    }

    /// A continuation behind its context. White space at the end of the context is moved to the continuation, and both
    /// are encoded together: the continuation is what follows as many ids as the context has alone. An empty context
    /// becomes the prefix id.
    ///
    /// # Errors
    /// [`EvalError::Data`]. The continuation may come out empty.
    pub fn pair(&self, context: &str, continuation: &str) -> Result<Request, EvalError> {
        let kept = context.trim_end_matches(is_space);
        let continuation = format!("{}{continuation}", &context[kept.len()..]);
        if kept.is_empty() {
            let continuation = self.tokenizer.encode(&continuation)?;
            // A text that begins with that id itself brings its own context.
            return Ok(match continuation.split_first() {
                Some((&first, rest)) if first == self.prefix => {
                    Request { context: vec![first], continuation: rest.to_vec() }
                }
                _ => Request { context: vec![self.prefix], continuation },
            });
        }
        let context = self.text(kept)?;
        let whole = self.text(&format!("{kept}{continuation}"))?;
        let continuation = whole.get(context.len()..).unwrap_or_default().to_vec();
        Ok(Request { context, continuation })
    }

    /// A whole text in windows: every token is scored once, the first behind the prefix id. Every window but the first
    /// has `window` inputs: the last one reaches back over tokens that are scored already.
    ///
    /// # Errors
    /// [`EvalError::Data`].
    pub fn rolling(&self, text: &str, window: usize) -> Result<Vec<Request>, EvalError> {
        Ok(rolling(&self.text(text)?, self.prefix, window))
    }
}

fn rolling(tokens: &[u32], prefix: u32, window: usize) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut done = 0;
    while done < tokens.len() {
        let end = tokens.len().min(done + window);
        let context = match done {
            0 => vec![prefix],
            // Inputs are the `window` tokens before the last one; those before the first target are its context.
            _ => tokens[end - 1 - window..done].to_vec(),
        };
        requests.push(Request { context, continuation: tokens[done..end].to_vec() });
        done = end;
    }
    requests
}

/// The id of a token that the tokenizer's other files name under this key.
fn named(dir: &Path, key: &str, tokenizer: &Tokenizer) -> Result<Option<u32>, EvalError> {
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let path = dir.join(name);
        if !path.exists() {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(EvalError::io(&path))?;
        let table: Value = serde_json::from_str(&text)
            .map_err(|error| EvalError::example(&path, error.line() as u64, error.to_string()))?;
        // A token is its text, or a table with the text in it.
        let token = table[key].as_str().or_else(|| table[key]["content"].as_str());
        if let Some(id) = token.and_then(|token| tokenizer.token_to_id(token)) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use contextlm_data::Document;

    use super::*;

    fn encoder() -> Encoder {
        let text = "a context and its continuation, a question and its answer. ".repeat(20);
        Encoder::new(Tokenizer::train([Ok(Document::new(text))], 300).unwrap()).unwrap()
    }

    #[test]
    fn trailing_space_goes_to_the_continuation_and_both_are_encoded_together() {
        let encoder = encoder();
        let text = |ids: &[u32]| encoder.tokenizer().decode(ids).unwrap();
        for context in ["a question", "a question ", "a question\n\n", "a question\u{a0}\u{3000} "] {
            let request = encoder.pair(context, " answer").unwrap();
            assert_eq!(text(&request.context), "a question", "{context:?}");
            assert_eq!(text(&request.continuation), format!("{} answer", &context["a question".len()..]));
        }
        // The whole is cut where the context ends when it is alone, whatever the tokens there are.
        let whole = encoder.text("a question and its answer, a context").unwrap();
        let alone = encoder.text("a questio").unwrap();
        let request = encoder.pair("a questio", "n and its answer, a context").unwrap();
        assert_eq!((&request.context, &request.continuation[..]), (&alone, &whole[alone.len()..]));
    }

    #[test]
    fn an_empty_context_is_the_prefix_id() {
        let encoder = encoder();
        let answer = encoder.text(" answer").unwrap();
        assert_eq!(
            encoder.pair("", " answer").unwrap(),
            Request { context: vec![encoder.prefix()], continuation: answer }
        );
        let spaces = encoder.pair("  ", " answer").unwrap();
        assert_eq!(
            (spaces.context[0], encoder.tokenizer().decode(&spaces.continuation).unwrap()),
            (encoder.prefix(), "   answer".into())
        );
        assert!(encoder.pair("", "").unwrap().continuation.is_empty());
        assert!(encoder.pair("a question", "").unwrap().continuation.is_empty());
    }

    #[test]
    fn every_token_is_rolled_over_once_and_later_windows_are_full() {
        for (length, window) in [(1, 4), (4, 4), (5, 4), (8, 4), (10, 4), (13, 1), (3, 100)] {
            let tokens: Vec<u32> = (1..=length).collect();
            let requests = rolling(&tokens, 0, window);
            let scored: Vec<u32> = requests.iter().flat_map(|request| request.continuation.clone()).collect();
            assert_eq!(scored, tokens);
            assert_eq!(requests[0].context, [0]);
            for request in &requests[1..] {
                assert_eq!(request.context.len() + request.continuation.len(), window + 1);
                assert_eq!(request.context.last().unwrap() + 1, request.continuation[0]);
            }
        }
        // As get_rolling_token_windows of lm-evaluation-harness 0.4.13 cuts ten tokens with windows of 4.
        let contexts: Vec<Vec<u32>> =
            rolling(&(1..=10).collect::<Vec<_>>(), 0, 4).into_iter().map(|r| r.context).collect();
        assert_eq!(contexts, [vec![0], vec![4], vec![6, 7, 8]]);
    }

    #[test]
    fn the_tokenizers_other_files_name_the_prefix() {
        let folder = tempfile::tempdir().unwrap();
        encoder().tokenizer().save(folder.path().join("tokenizer.json")).unwrap();
        let id = |token| encoder().tokenizer().token_to_id(token).unwrap();
        let prefix = || Encoder::from_dir(folder.path(), false).map(|encoder| encoder.prefix());
        assert_eq!(prefix().unwrap(), id("<|endoftext|>"));
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("tokenizer_config.json", r#"{"eos_token": "b", "bos_token": null}"#);
        assert_eq!(prefix().unwrap(), id("b"));
        write("special_tokens_map.json", r#"{"bos_token": {"content": "a"}}"#);
        assert_eq!(prefix().unwrap(), id("a"));
        assert_eq!(Encoder::from_dir(folder.path(), false).unwrap().end_of_text(), Some(id("b")), "what ends a text");
        write("special_tokens_map.json", "{\n{");
        let error = prefix().unwrap_err().to_string();
        assert!(error.contains("special_tokens_map.json, line 2"), "{error}");
    }
}
