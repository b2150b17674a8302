//! How well vectors tell tokens: softmax regression on a split of the texts, scored on another.

mod fit;
mod samples;

use std::collections::HashMap;

use contextlm_core::{Backbone, Device, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use self::fit::{Scores, frequency_logits, regression, scores};
use self::samples::{Samples, collect};
use super::parts::Parts;
use crate::{Estimate, EvalError, Windows, estimate::Sums};

/// Settings of the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeOptions {
    /// Chunks that are looked at, of all texts together.
    pub samples: usize,
    /// Classes: the most frequent tokens, and one class for all others.
    pub classes: usize,
    /// Steps of the fit.
    pub steps: usize,
    /// Seed of the split and of the choice of chunks.
    pub seed: u64,
}

impl Default for ProbeOptions {
    /// 12000 chunks, 129 classes, 150 steps, seed 0.
    fn default() -> Self {
        Self { samples: 12000, classes: 129, steps: 150, seed: 0 }
    }
}

/// Places of a chunk that are probed.
const PLACES: usize = 8;
/// Texts that a split needs.
const TEXTS: usize = 5;

/// What probes tell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    /// Chunks to learn from, to stop by, and to score on; each of texts of its own.
    pub samples: [usize; 3],
    /// Classes: the most frequent tokens of the chunks to learn from, and one for all others.
    pub classes: usize,
    /// One for every place that was probed.
    pub places: Vec<ProbePlace>,
}

/// The probes of one place of the chunk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbePlace {
    /// Token of the chunk, from 0 on.
    pub place: usize,
    /// How often the most frequent class is right.
    pub majority: Estimate,
    /// The predicted context of the chunk.
    pub context: Told,
    /// The encoder's state of the last token before the chunk: what is known when the context is made.
    pub state_before: Told,
    /// The encoder's state of the token before the one that is told: what is known when it is predicted.
    pub state: Told,
    /// The probe of this state, and on top of it one of the context.
    pub state_and_context: Told,
    /// Nats by which the context tells more than the state before the chunk, paired.
    pub context_less_state_before: Estimate,
    /// Nats by which the context tells more on top of the state, paired.
    pub added_by_context: Estimate,
}

/// How well some vectors tell a token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Told {
    /// Nats that the probe is better than the frequencies of the classes.
    pub nats: Estimate,
    /// Share of tokens whose class is the likeliest.
    pub accuracy: Estimate,
}

/// Probes a model. `None` with fewer than five texts, which cannot be split, or without a chunk to probe.
pub(super) fn probe<B: Backbone>(
    parts: &Parts<'_, B>,
    windows: &Windows,
    options: ProbeOptions,
    rows: usize,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Option<Probe>, EvalError> {
    if windows.texts() < TEXTS {
        return Ok(None);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let split = split(windows.texts(), &mut rng);
    let places = places(parts.chunk_size);
    let (collecting, fits) = (windows.len().div_ceil(rows), 4 * places.len());
    let mut done = 0;
    let mut step = |more: usize| {
        done += more;
        progress(done, collecting + 10 * fits);
    };
    let samples = collect(parts, windows, &places, options.samples, rows, &mut rng, device, &mut || step(1))?;
    let sets: [Vec<usize>; 3] = std::array::from_fn(|part| {
        (0..samples.texts.len()).filter(|&sample| split[samples.texts[sample]] == part).collect()
    });
    if sets.iter().any(Vec::is_empty) {
        return Ok(None);
    }
    let mut found = Vec::new();
    for (number, &place) in places.iter().enumerate() {
        found.push(one_place(&samples, &sets, number, place, windows.texts(), options, &mut || step(10))?);
    }
    let classes = found.iter().map(|(_, classes)| *classes).max().unwrap_or(0);
    let places = found.into_iter().map(|(place, _)| place).collect();
    Ok(Some(Probe { samples: sets.each_ref().map(Vec::len), classes, places }))
}

fn one_place(
    samples: &Samples,
    sets: &[Vec<usize>; 3],
    number: usize,
    place: usize,
    texts: usize,
    options: ProbeOptions,
    step: &mut dyn FnMut(),
) -> Result<(ProbePlace, usize), EvalError> {
    let (labels, classes) = labels(&samples.tokens[number], &sets[0], options.classes.max(2));
    let estimate = |values: &dyn Fn(usize) -> f64| {
        let mut sums = Sums::new(texts);
        sets[2].iter().enumerate().for_each(|(i, &sample)| sums.add(samples.texts[sample], values(i)));
        // The set is not empty.
        sums.estimate().unwrap_or(Estimate { mean: f64::NAN, standard_error: None })
    };
    let [contexts, before, states] = samples.vectors(number);
    let base = frequency_logits(&labels, sets, classes, &contexts.device());
    let mut fit = |vectors: &Tensor<2>, start| {
        let found = regression(vectors, start, &labels, sets, options.steps);
        step();
        found
    };
    let (of_context, of_before, of_state) = (fit(contexts, &base)?, fit(before, &base)?, fit(states, &base)?);
    let of_both = fit(contexts, &of_state)?;
    let score = |logits| scores(logits, &labels, sets);
    let (base, context, before) = (score(&base)?, score(&of_context)?, score(&of_before)?);
    let (state, both) = (score(&of_state)?, score(&of_both)?);
    let told = |scores: &Scores| Told {
        nats: estimate(&|i| base.nll[i] - scores.nll[i]),
        accuracy: estimate(&|i| f64::from(u8::from(scores.right[i]))),
    };
    let place = ProbePlace {
        place,
        majority: estimate(&|i| f64::from(u8::from(base.right[i]))),
        context: told(&context),
        state_before: told(&before),
        state: told(&state),
        state_and_context: told(&both),
        context_less_state_before: estimate(&|i| before.nll[i] - context.nll[i]),
        added_by_context: estimate(&|i| state.nll[i] - both.nll[i]),
    };
    Ok((place, classes))
}

/// Which texts are learned from (0: three fifths), stopped by (1: a fifth) and scored on (2: a fifth).
fn split(texts: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..texts).collect();
    order.shuffle(rng);
    let fifth = (texts / 5).max(1);
    let mut split = vec![0; texts];
    order.iter().take(fifth).for_each(|&text| split[text] = 2);
    order.iter().skip(fifth).take(fifth).for_each(|&text| split[text] = 1);
    split
}

/// All places of a chunk, or eight at equal distances, the first one always.
fn places(chunk_size: usize) -> Vec<usize> {
    let count = chunk_size.min(PLACES);
    (0..count).map(|i| i * chunk_size / count).collect()
}

/// The class of every token, and the number of classes: the most frequent ones in the training set, smaller ids first where
/// they are equal, then one for all others.
fn labels(tokens: &[u32], training: &[usize], most: usize) -> (Vec<usize>, usize) {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    training.iter().for_each(|&sample| *counts.entry(tokens[sample]).or_default() += 1);
    let mut known: Vec<(u32, usize)> = counts.into_iter().collect();
    known.sort_by_key(|&(token, count)| (std::cmp::Reverse(count), token));
    known.truncate(most - 1);
    let class: HashMap<u32, usize> = known.iter().enumerate().map(|(class, &(token, _))| (token, class)).collect();
    let others = class.len();
    (tokens.iter().map(|token| class.get(token).copied().unwrap_or(others)).collect(), others + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_in_one_part() {
        for texts in [5, 9, 100] {
            let split = split(texts, &mut ChaCha8Rng::seed_from_u64(3));
            let count = |part| split.iter().filter(|&&other| other == part).count();
            assert_eq!((count(1), count(2), count(0)), (texts / 5, texts / 5, texts - 2 * (texts / 5)));
        }
    }

    #[test]
    fn large_chunks_are_probed_at_eight_places() {
        assert_eq!(places(3), [0, 1, 2]);
        assert_eq!(places(16), [0, 2, 4, 6, 8, 10, 12, 14]);
    }

    #[test]
    fn rare_tokens_are_one_class() {
        let tokens = [7, 7, 7, 5, 5, 4, 4, 3, 9];
        assert_eq!(labels(&tokens, &[0, 1, 2, 3, 4, 5, 6, 7], 3), (vec![0, 0, 0, 2, 2, 1, 1, 2, 2], 3));
    }
}
