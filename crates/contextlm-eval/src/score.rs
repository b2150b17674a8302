//! Log-probabilities of given tokens: the core of every evaluation here.

mod batch;
mod group;
mod request;
mod tokens;

pub use batch::Batch;
pub use request::{Likelihood, Request};
pub use tokens::{TokenScore, TokenScorer};

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use contextlm_core::{Backbone, ContextLm};
use contextlm_generate::{Beyond, DecoderState, token_table};

use crate::EvalError;

/// Scores requests in batches. A result does not depend on what else is in its batch, but for rounding: rows are filled
/// up behind their tokens, and nothing attends to what comes later.
#[derive(Debug)]
pub struct RequestScorer<'m, B: Backbone> {
    model: &'m ContextLm<B>,
    device: Device,
    tokens: TokenScorer,
    window: usize,
}

impl<'m, B: Backbone> RequestScorer<'m, B> {
    /// A scorer whose inputs have at most `window` tokens. `device` is the model's.
    ///
    /// # Errors
    /// [`EvalError::Setting`] if the window is 0 or has more tokens than the model has positions.
    pub fn new(model: &'m ContextLm<B>, window: usize, device: &Device) -> Result<Self, EvalError> {
        let positions = model.backbone.spec().max_positions;
        if !(1..=positions).contains(&window) {
            return Err(EvalError::setting("window", window, format!("must be from 1 to the model's {positions}")));
        }
        Ok(Self { model, device: device.clone(), tokens: TokenScorer::new(model), window })
    }

    /// Largest number of input tokens.
    pub fn window(&self) -> usize {
        self.window
    }

    /// Batches of at most `batch_tokens` tokens each, the longest input for every request, or of one group. A group is
    /// requests that often begin alike, such as the choices of one question: what all of them begin with is computed once.
    pub fn batches(&self, groups: &[Vec<Request>], batch_tokens: usize) -> Vec<Batch> {
        batch::batches(groups, self.window, batch_tokens)
    }

    /// The number of each group of the batch, and its likelihoods in the order of its requests.
    ///
    /// # Errors
    /// [`EvalError::Generate`] for a token beyond the vocabulary, [`EvalError::NotFinite`], [`EvalError::Device`].
    pub fn run(&self, batch: &Batch) -> Result<Vec<(usize, Vec<Likelihood>)>, EvalError> {
        batch.check(self.model.backbone.spec().vocabulary)?;
        let [prefixes, suffixes] = self.states(batch)?;
        let (mut picked, mut owners, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for (states, places) in [(prefixes, batch.in_prefixes()), (suffixes, batch.in_suffixes())] {
            let Some(states) = states.filter(|_| !places.is_empty()) else { continue };
            let [rows, length, width] = states.dims();
            let index: Vec<i64> = places.iter().map(|place| (place.row * length + place.position) as i64).collect();
            let index = Tensor::<1, Int>::from_data(TensorData::new(index, [places.len()]), &self.device);
            picked.push(states.reshape([rows * length, width]).select(0, index));
            owners.extend(places.iter().map(|place| (place.group, place.member)));
            targets.extend(places.iter().map(|place| place.target));
        }
        let mut found: Vec<(usize, Vec<Likelihood>)> =
            batch.groups.iter().map(|group| (group.number, vec![Likelihood::default(); group.members.len()])).collect();
        if picked.is_empty() {
            return Ok(found);
        }
        let scores = self.tokens.unchecked(Tensor::cat(picked, 0), &targets)?;
        for ((group, member), score) in owners.into_iter().zip(scores) {
            let (number, likelihoods) = &mut found[group];
            if !score.log_probability.is_finite() {
                return Err(EvalError::NotFinite { value: score.log_probability, group: Some(*number) });
            }
            likelihoods[member].add(score);
        }
        Ok(found)
    }

    /// Normed states of what the requests of a group have in common and of what follows it: [G, P, D], [R, S, D].
    fn states(&self, batch: &Batch) -> Result<[Option<Tensor<3>>; 2], EvalError> {
        let prefixes: Vec<&[u32]> = batch.groups.iter().map(|group| group.prefix.as_slice()).collect();
        let (owners, suffixes) = batch.suffixes();
        if suffixes.is_empty() {
            return Ok([Some(self.model.hidden_states(token_table(&prefixes, &self.device))), None]);
        }
        let length = |rows: &[&[u32]]| rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let capacity = length(&prefixes) + length(&suffixes);
        let mut state = DecoderState::new(self.model, prefixes.len(), capacity, Beyond::Stop, &self.device)?;
        let of_prefixes = match length(&prefixes) {
            0 => None,
            _ => Some(state.feed_states(&prefixes)?),
        };
        let mut state = state.with_rows(&owners)?;
        Ok([of_prefixes, Some(state.feed_states(&suffixes)?)])
    }
}

/// How many of two sequences' first tokens are the same.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// `whole` of the places in `part`, counted from its start.
fn overlap(whole: &Range<usize>, part: Range<usize>) -> Range<usize> {
    let start = whole.start.clamp(part.start, part.end);
    start..whole.end.clamp(start, part.end)
}

#[cfg(test)]
mod tests;
