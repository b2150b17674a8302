use std::time::Instant;

use burn::tensor::{Device, Tensor};
use contextlm_core::{Backbone, ContextLm};

use crate::sampler::log_probability;
use crate::stop::StopFilter;
use crate::text::TextPieces;
use crate::{Beyond, Decode, DecoderState, Finish, GenerateError, GenerateOptions, Sampler, Timing};

/// Memory is reserved for this many new tokens at first, however many are wanted.
const RESERVED: usize = 4096;

/// Samples of all prompts together at most: all of them run as one batch.
pub const MAX_ROWS: usize = 1 << 16;

/// What was generated behind one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// Number of the prompt.
    pub prompt: usize,
    /// The new tokens, without a stop token; with those that a stop string ends in.
    pub tokens: Vec<u32>,
    /// Natural log-probability of every token, over all V logits as the model gave them; empty unless asked for.
    pub logprobs: Vec<f64>,
    /// The new text, without a stop string.
    pub text: String,
    /// Why it ended; `None` while it goes on.
    pub finish: Option<Finish>,
}

/// One sample while it grows.
#[derive(Debug)]
struct Sample {
    generated: Generated,
    sampler: Sampler,
    text: TextPieces,
    stop: StopFilter,
    /// The newest token, which was not run yet.
    next: Option<u32>,
}

/// Generation behind one or several prompts, step by step; all samples run as one batch.
#[derive(Debug)]
pub struct Generator<'m, B: Backbone, D: Decode> {
    state: DecoderState<'m, B>,
    /// Numbers of the samples that the rows of the state are, once the prompts were fed.
    rows: Vec<usize>,
    /// What is fed first, until it was.
    prompts: Option<Vec<Vec<u32>>>,
    samples: Vec<Sample>,
    options: GenerateOptions,
    decode: D,
    started: Instant,
    timing: Timing,
}

/// Runs generation to its end: `samples` results for every prompt, those of a prompt one after another.
///
/// # Errors
/// As [`Generator::new`] and [`Generator::step`].
pub fn generate<B: Backbone, D: Decode>(
    model: &ContextLm<B>,
    prompts: &[&[u32]],
    options: GenerateOptions,
    decode: D,
    device: &Device,
) -> Result<Vec<Generated>, GenerateError> {
    let mut generator = Generator::new(model, prompts, options, decode, device)?;
    while generator.step()? {}
    Ok(generator.into_generated())
}

impl<'m, B: Backbone, D: Decode> Generator<'m, B, D> {
    /// Generation behind these prompts, which may have different lengths. Nothing runs yet.
    ///
    /// # Errors
    /// [`GenerateError::Setting`], [`GenerateError::EmptyPrompt`].
    pub fn new(
        model: &'m ContextLm<B>,
        prompts: &[&[u32]],
        options: GenerateOptions,
        decode: D,
        device: &Device,
    ) -> Result<Self, GenerateError> {
        let longest = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
        let capacity = longest + options.max_new_tokens.min(RESERVED);
        let state = DecoderState::new(model, prompts.len(), capacity, options.beyond, device)?;
        Self::from_state(state, prompts, options, decode)
    }

    /// As [`new`](Self::new), from a state that may have seen a prefix already; `prompts` are what follows it, and may
    /// be empty then. The state's [`Beyond`] counts, not that of the options.
    ///
    /// # Errors
    /// [`GenerateError::Setting`], [`GenerateError::Rows`], [`GenerateError::EmptyPrompt`].
    pub fn from_state(
        state: DecoderState<'m, B>,
        prompts: &[&[u32]],
        options: GenerateOptions,
        decode: D,
    ) -> Result<Self, GenerateError> {
        options.validate(state.vocabulary())?;
        if prompts.len() != state.rows() {
            return Err(GenerateError::Rows { expected: state.rows(), found: prompts.len() });
        }
        let whole = |row: usize| [state.tokens(row), prompts[row]].concat();
        if let Some(row) = (0..prompts.len()).find(|&row| whole(row).is_empty()) {
            return Err(GenerateError::EmptyPrompt { row });
        }
        let count = prompts.len().checked_mul(options.samples).filter(|&count| count <= MAX_ROWS).ok_or_else(|| {
            let fix = format!("times {} prompts it must be at most {MAX_ROWS}", prompts.len());
            GenerateError::setting("samples", options.samples, fix)
        })?;
        let sample = |number: usize| {
            let prompt = number / options.samples;
            let (tokens, logprobs, text, finish) = (Vec::new(), Vec::new(), String::new(), None);
            Sample {
                generated: Generated { prompt, tokens, logprobs, text, finish },
                sampler: Sampler::new(options.sampling.clone(), &whole(prompt), number as u64),
                text: TextPieces::default(),
                stop: StopFilter::new(&options.stop_strings),
                next: None,
            }
        };
        let timing = Timing { prompt_tokens: prompts.iter().map(|prompt| prompt.len()).sum(), ..Timing::default() };
        Ok(Self {
            samples: (0..count).map(sample).collect(),
            prompts: Some(prompts.iter().map(|prompt| prompt.to_vec()).collect()),
            state,
            rows: (0..count).collect(),
            options,
            decode,
            started: Instant::now(),
            timing,
        })
    }

    /// The next token of every sample that goes on: the first step runs the prompts, later ones the token before.
    /// False if all samples have ended.
    ///
    /// # Errors
    /// Those of [`DecoderState::feed`], [`GenerateError::NotFinite`], [`GenerateError::NothingToSample`],
    /// [`GenerateError::Decode`], [`GenerateError::Device`].
    pub fn step(&mut self) -> Result<bool, GenerateError> {
        for (row, &number) in self.rows.iter().enumerate() {
            let sample = &mut self.samples[number];
            let full = self.prompts.is_none() && self.state.is_full(row) && self.state.beyond() == Beyond::Stop;
            let finish = match () {
                () if self.options.cancel.is_cancelled() => Finish::Cancelled,
                () if sample.generated.tokens.len() >= self.options.max_new_tokens => Finish::Length,
                () if full => Finish::Window,
                () => continue,
            };
            sample.end(finish, &self.decode)?;
        }
        if self.samples.iter().all(|sample| sample.generated.finish.is_some()) {
            return Ok(false);
        }
        self.drop_ended()?;
        let before = Instant::now();
        let logits = match self.prompts.take() {
            Some(prompts) => {
                self.started = before;
                let pieces: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
                self.state.feed(&pieces)?;
                if self.options.samples > 1 {
                    let rows: Vec<usize> = self.samples.iter().map(|sample| sample.generated.prompt).collect();
                    self.state = self.state.with_rows(&rows)?;
                }
                let logits = values(self.state.logits().ok_or(GenerateError::EmptyPrompt { row: 0 })?)?;
                self.timing.prefill = before.elapsed();
                logits
            }
            None => {
                let pieces: Vec<&[u32]> =
                    self.rows.iter().map(|&number| self.samples[number].next.as_slice()).collect();
                let logits = values(self.state.feed(&pieces)?)?;
                self.timing.decode += before.elapsed();
                self.timing.decoded_tokens += pieces.concat().len();
                logits
            }
        };
        let vocabulary = self.state.vocabulary();
        for (row, (&number, logits)) in self.rows.iter().zip(logits.chunks_exact(vocabulary)).enumerate() {
            let sample = &mut self.samples[number];
            if sample.generated.finish.is_none() {
                let position = self.state.tokens(row).len();
                sample.choose(number, position, logits, &self.options, &self.decode)?;
            }
        }
        if self.timing.first_token.is_zero() {
            self.timing.first_token = self.started.elapsed();
        }
        Ok(true)
    }

    /// Samples that end leave the batch whenever half of its rows or fewer go on: seldom enough that copying the rest
    /// costs little beside running it.
    fn drop_ended(&mut self) -> Result<(), GenerateError> {
        let goes_on = |row: &usize| self.samples[self.rows[*row]].generated.finish.is_none();
        let kept: Vec<usize> = (0..self.rows.len()).filter(goes_on).collect();
        if self.prompts.is_none() && kept.len() <= self.rows.len() / 2 {
            self.state = self.state.with_rows(&kept)?;
            self.rows = kept.into_iter().map(|row| self.rows[row]).collect();
        }
        Ok(())
    }

    /// Rows of the batch as it runs now. Samples that have ended leave it whenever half of it or less goes on.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// What there is of every sample so far.
    pub fn generated(&self) -> impl Iterator<Item = &Generated> {
        self.samples.iter().map(|sample| &sample.generated)
    }

    /// The samples as they are now.
    pub fn into_generated(self) -> Vec<Generated> {
        self.samples.into_iter().map(|sample| sample.generated).collect()
    }

    /// How long it took so far.
    pub fn timing(&self) -> Timing {
        self.timing
    }
}

impl Sample {
    fn choose<D: Decode>(
        &mut self,
        row: usize,
        position: usize,
        logits: &[f32],
        options: &GenerateOptions,
        decode: &D,
    ) -> Result<(), GenerateError> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(GenerateError::NotFinite { row, position });
        }
        let token = self.sampler.sample(logits).ok_or(GenerateError::NothingToSample { row })?;
        if options.stop_tokens.contains(&token) {
            return self.end(Finish::StopToken, decode);
        }
        self.next = Some(token);
        self.generated.tokens.push(token);
        if options.logprobs {
            self.generated.logprobs.push(log_probability(logits, token));
        }
        let piece = self.text.push(token, decode)?;
        self.generated.text.push_str(&self.stop.push(&piece));
        if self.stop.stopped() {
            self.end(Finish::StopString, decode)?;
        } else if self.generated.tokens.len() == options.max_new_tokens {
            self.end(Finish::Length, decode)?;
        }
        Ok(())
    }

    /// Ends the sample, once, and gives the text that was held back.
    fn end<D: Decode>(&mut self, finish: Finish, decode: &D) -> Result<(), GenerateError> {
        if self.generated.finish.is_some() {
            return Ok(());
        }
        let rest = self.text.finish(decode)?;
        self.generated.text.push_str(&self.stop.push(&rest));
        self.generated.text.push_str(&self.stop.finish());
        self.generated.finish = Some(finish);
        self.next = None;
        Ok(())
    }
}

fn values(logits: Tensor<2>) -> Result<Vec<f32>, GenerateError> {
    let device = |reason: String| GenerateError::Device { reason };
    let data = logits.try_into_data_as::<f32>().map_err(|error| device(error.to_string()))?;
    data.try_to_vec().map_err(|error| device(format!("{error:?}")))
}
