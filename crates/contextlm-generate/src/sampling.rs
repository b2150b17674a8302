use crate::GenerateError;

/// How the next token is chosen from the logits.
///
/// In this order, which is that of `transformers`, and with its meaning: the vocabulary's limit, `logit_bias`,
/// `repetition_penalty`, then OpenAI's `frequency_penalty` and `presence_penalty` (`transformers` has none), and unless
/// the temperature is 0, `temperature`, `top_k`, `top_p`, `min_p`. The defaults choose the largest logit.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the largest one (of equal ones the first), without chance.
    pub temperature: f32,
    /// Only logits as large as the k-th largest stay; 0 is off.
    pub top_k: usize,
    /// Only the most probable tokens stay, as many as it takes to exceed this probability together; 1 is off.
    pub top_p: f32,
    /// Only tokens of at least this share of the largest probability stay; 0 is off.
    pub min_p: f32,
    /// Logits of tokens that were there before, prompt included, are divided by it if positive, else multiplied; 1 is
    /// off.
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens that were generated before, once; 0 is off.
    pub presence_penalty: f32,
    /// Subtracted from the logits of generated tokens, as many times as they were generated; 0 is off.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens; minus infinity rules a token out.
    pub logit_bias: Vec<(u32, f32)>,
    /// Only tokens below it are chosen, the size of the tokenizer's vocabulary: a model's may be padded.
    pub vocabulary: Option<usize>,
    /// Seed of chance. The same seed gives the same tokens for the same logits.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            vocabulary: None,
            seed: 0,
        }
    }
}

impl Sampling {
    /// Checks the settings for a model of `vocabulary` tokens.
    ///
    /// # Errors
    /// [`GenerateError::Setting`] naming key, value and fix.
    pub fn validate(&self, vocabulary: usize) -> Result<(), GenerateError> {
        let require = |fits: bool, key, value: f32, fix: &str| {
            if fits { Ok(()) } else { Err(GenerateError::setting(key, value, fix)) }
        };
        let share = |value: f32| (0.0..=1.0).contains(&value);
        let temperature = self.temperature;
        require(temperature.is_finite() && temperature >= 0.0, "temperature", temperature, "must be 0 or above")?;
        require(share(self.top_p), "top_p", self.top_p, "must be from 0 to 1")?;
        require(share(self.min_p), "min_p", self.min_p, "must be from 0 to 1")?;
        let penalty = self.repetition_penalty;
        require(penalty.is_finite() && penalty > 0.0, "repetition_penalty", penalty, "must be above 0")?;
        for (key, value) in [("presence_penalty", self.presence_penalty), ("frequency_penalty", self.frequency_penalty)]
        {
            require(value.is_finite(), key, value, "must be a finite number")?;
        }
        for &(token, bias) in &self.logit_bias {
            if token as usize >= vocabulary {
                let fix = format!("token {token} is not below the vocabulary, {vocabulary}");
                return Err(GenerateError::setting("logit_bias", format!("{token}: {bias}"), fix));
            }
            require(!bias.is_nan() && bias < f32::INFINITY, "logit_bias", bias, "must be a number below infinity")?;
        }
        match self.vocabulary {
            Some(0) => Err(GenerateError::setting("vocabulary", 0, "must be at least 1")),
            Some(own) if own > vocabulary => {
                let fix = format!("must be at most the model's vocabulary, {vocabulary}");
                Err(GenerateError::setting("vocabulary", own, fix))
            }
            _ => Ok(()),
        }
    }
}
