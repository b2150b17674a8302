//! The prompt as tokens, and tokens as text.

use std::error::Error;
use std::path::Path;

use contextlm_core::{Backbone, ContextLm};
use contextlm_data::Tokenizer;

/// Tokens of the prompt, and how to read more of them.
pub(crate) struct Prompt {
    pub(crate) tokens: Vec<u32>,
    tokenizer: Option<Tokenizer>,
}

impl Prompt {
    /// By the tokenizer of a model directory.
    pub(crate) fn with_tokenizer(text: &str, dir: &Path) -> Result<Self, Box<dyn Error>> {
        let tokenizer = Tokenizer::from_dir(dir)?;
        Ok(Self { tokens: tokenizer.encode(text)?, tokenizer: Some(tokenizer) })
    }

    /// The tokens of another text.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, Box<dyn Error>> {
        match &self.tokenizer {
            Some(tokenizer) => Ok(tokenizer.encode(text)?),
            None => Ok(text.bytes().map(u32::from).collect()),
        }
    }

    /// A token a byte.
    pub(crate) fn of_bytes(text: &str) -> Self {
        Self { tokens: text.bytes().map(u32::from).collect(), tokenizer: None }
    }

    /// Checks that the model can take the tokens.
    pub(crate) fn check(&self, model: &ContextLm, new_tokens: usize) -> Result<(), Box<dyn Error>> {
        let spec = model.backbone.spec();
        if let Some(tokenizer) = &self.tokenizer {
            tokenizer.check_vocabulary(spec.vocabulary)?;
        }
        let length = self.tokens.len();
        if length < 2 {
            return Err(format!("--prompt: {length} tokens, but the first one has no score; use at least 2").into());
        }
        if length.saturating_add(new_tokens) > spec.max_positions {
            let most = spec.max_positions;
            return Err(format!("--prompt of {length} tokens, and {new_tokens} new ones: at most {most} in all").into());
        }
        Ok(())
    }

    /// Tokens that have a text; models may have rows for more.
    pub(crate) fn known(&self) -> usize {
        self.tokenizer.as_ref().map_or(256, Tokenizer::vocab_size)
    }

    /// The text of some tokens.
    pub(crate) fn text(&self, tokens: &[u32]) -> Result<String, Box<dyn Error>> {
        match &self.tokenizer {
            Some(tokenizer) => Ok(tokenizer.decode(tokens)?),
            None => {
                let bytes: Vec<u8> = tokens.iter().filter_map(|&token| token.try_into().ok()).collect();
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    }

    /// Whether a text ends with this token.
    pub(crate) fn ends_with(&self, token: u32) -> bool {
        self.tokenizer.as_ref().and_then(|tokenizer| tokenizer.end_of_text().ok()) == Some(token)
    }
}
