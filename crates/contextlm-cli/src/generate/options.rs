use std::error::Error;

use contextlm_core::BackboneSpec;
use contextlm_generate::{Beyond, GenerateOptions, Sampling};

/// How tokens are chosen and when it ends, in the words of `transformers`.
#[derive(clap::Args)]
pub(crate) struct OptionArgs {
    /// New tokens at most
    #[arg(long, default_value_t = 128)]
    max_new_tokens: usize,
    /// Divides the logits; 0 takes the most probable token
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Chooses among the K most probable tokens; 0 is off
    #[arg(long, default_value_t = 0, value_name = "K")]
    top_k: usize,
    /// Chooses among the most probable tokens that have this probability together
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    top_p: f32,
    /// Chooses among tokens of at least this share of the largest probability
    #[arg(long, default_value_t = 0.0, value_name = "P")]
    min_p: f32,
    /// Divides positive logits of tokens that were there before, multiplies negative ones
    #[arg(long, default_value_t = 1.0, value_name = "R")]
    repetition_penalty: f32,
    /// Subtracted from the logits of tokens that were generated before
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    presence_penalty: f32,
    /// Subtracted from the logits of generated tokens for every time that they were
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    frequency_penalty: f32,
    /// Added to the logit of a token: ID=BIAS; may be given several times
    #[arg(long, value_name = "ID=BIAS", value_parser = bias)]
    logit_bias: Vec<(u32, f32)>,
    /// Seed of chance
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Text that ends it, not printed; may be given several times
    #[arg(long, value_name = "STRING")]
    stop: Vec<String>,
    /// Several continuations of the prompt
    #[arg(long, default_value_t = 1)]
    samples: usize,
    /// Adds the log-probability of every new token to the JSON
    #[arg(long)]
    logprobs: bool,
    /// Goes on after end-of-text tokens
    #[arg(long)]
    pub(crate) ignore_end: bool,
    /// Goes on beyond the model's positions, which only rotary ones can
    #[arg(long, conflicts_with = "slide")]
    allow_longer: bool,
    /// At the end of the model's positions keeps this many of the newest tokens and forgets the others
    #[arg(long, value_name = "KEEP")]
    slide: Option<usize>,
}

impl OptionArgs {
    pub(crate) fn read(&self, spec: &BackboneSpec) -> Result<GenerateOptions, Box<dyn Error>> {
        let beyond = match self.slide {
            Some(keep) => Beyond::Slide { keep },
            None if self.allow_longer => Beyond::Continue,
            None => Beyond::Stop,
        };
        let options = GenerateOptions {
            max_new_tokens: self.max_new_tokens,
            sampling: Sampling {
                temperature: self.temperature,
                top_k: self.top_k,
                top_p: self.top_p,
                min_p: self.min_p,
                repetition_penalty: self.repetition_penalty,
                presence_penalty: self.presence_penalty,
                frequency_penalty: self.frequency_penalty,
                logit_bias: self.logit_bias.clone(),
                vocabulary: None,
                seed: self.seed,
            },
            samples: self.samples,
            stop_strings: self.stop.clone(),
            logprobs: self.logprobs,
            beyond,
            ..GenerateOptions::default()
        };
        options.validate(spec.vocabulary)?;
        Ok(options)
    }
}

fn bias(text: &str) -> Result<(u32, f32), String> {
    let parse = || {
        let (id, bias) = text.split_once('=')?;
        Some((id.trim().parse().ok()?, bias.trim().parse().ok()?))
    };
    parse().ok_or_else(|| "must be ID=BIAS, such as 50256=-10".into())
}
