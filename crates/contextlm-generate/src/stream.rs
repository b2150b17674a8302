use burn::tensor::Device;
use contextlm_core::{Backbone, ContextLm};

use crate::{Decode, DecoderState, Finish, GenerateError, GenerateOptions, Generator, Timing};

/// Text behind a prompt, as it comes: an iterator of pieces that are never empty and never split a character, and that
/// together are the whole text. Each call runs the model only until there is a piece; dropping the stream ends it.
#[derive(Debug)]
pub struct TextStream<'m, B: Backbone, D: Decode> {
    generator: Generator<'m, B, D>,
    /// Bytes of the text that were given out.
    given: usize,
    ended: bool,
}

impl<'m, B: Backbone, D: Decode> TextStream<'m, B, D> {
    /// A stream behind this prompt. Nothing runs yet. Of [`GenerateOptions::samples`] one is made.
    ///
    /// # Errors
    /// As [`Generator::new`].
    pub fn new(
        model: &'m ContextLm<B>,
        prompt: &[u32],
        options: GenerateOptions,
        decode: D,
        device: &Device,
    ) -> Result<Self, GenerateError> {
        let options = GenerateOptions { samples: 1, ..options };
        Ok(Self { generator: Generator::new(model, &[prompt], options, decode, device)?, given: 0, ended: false })
    }

    /// As [`new`](Self::new), from a state of one sequence that may have seen a prefix already.
    ///
    /// # Errors
    /// As [`Generator::from_state`].
    pub fn from_state(
        state: DecoderState<'m, B>,
        prompt: &[u32],
        options: GenerateOptions,
        decode: D,
    ) -> Result<Self, GenerateError> {
        let options = GenerateOptions { samples: 1, ..options };
        Ok(Self { generator: Generator::from_state(state, &[prompt], options, decode)?, given: 0, ended: false })
    }

    /// The new tokens so far.
    pub fn tokens(&self) -> &[u32] {
        self.generator.generated().next().map_or(&[], |generated| &generated.tokens)
    }

    /// Their log-probabilities, if they were asked for.
    pub fn logprobs(&self) -> &[f64] {
        self.generator.generated().next().map_or(&[], |generated| &generated.logprobs)
    }

    /// Why it ended; `None` before.
    pub fn finish(&self) -> Option<Finish> {
        self.generator.generated().next().and_then(|generated| generated.finish)
    }

    /// How long it took so far.
    pub fn timing(&self) -> Timing {
        self.generator.timing()
    }
}

impl<B: Backbone, D: Decode> Iterator for TextStream<'_, B, D> {
    type Item = Result<String, GenerateError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let text = self.generator.generated().next().map_or("", |generated| &generated.text);
            if text.len() > self.given {
                let piece = text[self.given..].to_owned();
                self.given = text.len();
                return Some(Ok(piece));
            }
            if self.ended {
                return None;
            }
            match self.generator.step() {
                Ok(more) => self.ended = !more,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}
