use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::Sampling;

/// Chooses the tokens of one sequence, and remembers what its penalties depend on.
#[derive(Debug, Clone)]
pub struct Sampler {
    settings: Sampling,
    rng: ChaCha12Rng,
    /// Tokens so far, with the number of times that they were generated: 0 of those in the prompt only.
    seen: BTreeMap<u32, u32>,
}

impl Sampler {
    /// A sampler for a sequence that begins with `prompt`. Sequences of one run get different numbers, so that chance
    /// differs between them; number and seed decide it alone.
    pub fn new(settings: Sampling, prompt: &[u32], number: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(settings.seed);
        rng.set_stream(number);
        Self { settings, rng, seen: prompt.iter().map(|&token| (token, 0)).collect() }
    }

    /// The next token, `None` if none is left. It counts as generated from then on.
    ///
    /// # Shapes
    /// logits `[V]`
    pub fn sample(&mut self, logits: &[f32]) -> Option<u32> {
        let scores = self.scores(logits);
        let token = match self.settings.temperature {
            0.0 => largest(&scores),
            _ => self.draw(&scores),
        }?;
        self.record(token);
        Some(token)
    }

    /// Counts a token as generated that was not sampled here.
    pub fn record(&mut self, token: u32) {
        *self.seen.entry(token).or_insert(0) += 1;
    }

    /// The logits as all settings leave them; minus infinity for tokens that cannot be chosen.
    ///
    /// # Shapes
    /// `[V]` to `[V]`
    pub fn scores(&self, logits: &[f32]) -> Vec<f32> {
        let Sampling { temperature, top_k, top_p, min_p, repetition_penalty, .. } = self.settings;
        let mut scores = logits.to_vec();
        if let Some(padding) = self.settings.vocabulary.and_then(|own| scores.get_mut(own..)) {
            padding.fill(f32::NEG_INFINITY);
        }
        for &(token, bias) in &self.settings.logit_bias {
            if let Some(score) = scores.get_mut(token as usize) {
                *score = if bias.is_finite() { finite(*score + bias, *score) } else { bias };
            }
        }
        for (&token, &count) in &self.seen {
            if let Some(score) = scores.get_mut(token as usize) {
                let before = *score;
                *score = if *score < 0.0 { *score * repetition_penalty } else { *score / repetition_penalty };
                if count > 0 {
                    *score -= self.settings.frequency_penalty * count as f32 + self.settings.presence_penalty;
                }
                *score = finite(*score, before);
            }
        }
        if temperature > 0.0 {
            divide(&mut scores, temperature);
            if top_k > 0 {
                keep_top_k(&mut scores, top_k);
            }
            if top_p < 1.0 {
                keep_top_p(&mut scores, top_p);
            }
            if min_p > 0.0 {
                keep_min_p(&mut scores, min_p);
            }
        }
        scores
    }

    /// One token with the probability that its score gives it.
    fn draw(&mut self, scores: &[f32]) -> Option<u32> {
        let best = scores[largest(scores)? as usize];
        let weight = |score: f32| f64::from(score - best).exp();
        let total: f64 = scores.iter().map(|&score| weight(score)).sum();
        let mut left = self.rng.random::<f64>() * total;
        let mut chosen = None;
        for (token, &score) in scores.iter().enumerate().filter(|(_, score)| **score > f32::NEG_INFINITY) {
            chosen = Some(token as u32);
            left -= weight(score);
            if left < 0.0 {
                break;
            }
        }
        chosen
    }
}

/// A score after a step that had it as `before`: what has become too large for f32 is the largest number, since no
/// step but a bias of minus infinity rules a token out.
fn finite(score: f32, before: f32) -> f32 {
    if before == f32::NEG_INFINITY { before } else { score.clamp(f32::MIN, f32::MAX) }
}

/// Divides by the temperature. Where a result would be too large for f32, the largest score becomes 0 before, which
/// changes no probability.
fn divide(scores: &mut [f32], temperature: f32) {
    let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let overflows = |score: &f32| score.is_finite() && !(score / temperature).is_finite();
    let shift = if scores.iter().any(overflows) { best } else { 0.0 };
    scores.iter_mut().for_each(|score| *score = (*score - shift) / temperature);
}

/// The token of the largest score, of equal ones the first; `None` if all are minus infinity.
fn largest(scores: &[f32]) -> Option<u32> {
    let mut best = (None, f32::NEG_INFINITY);
    for (token, &score) in scores.iter().enumerate() {
        if score > best.1 {
            best = (Some(token as u32), score);
        }
    }
    best.0
}

/// `TopKLogitsWarper`: scores equal to the k-th largest stay too.
fn keep_top_k(scores: &mut [f32], k: usize) {
    if k >= scores.len() {
        return;
    }
    let mut sorted = scores.to_vec();
    let (_, &mut smallest, _) = sorted.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    for score in scores.iter_mut().filter(|score| **score < smallest) {
        *score = f32::NEG_INFINITY;
    }
}

/// `TopPLogitsWarper`: from the least probable on, tokens go while together they have at most 1 - p. The largest stays.
///
/// In other words a token stays if those before it, from the most probable on, have less than p together. So only the
/// most probable ones are sorted, as many as it takes.
fn keep_top_p(scores: &mut [f32], p: f32) {
    let probabilities = softmax(scores);
    let p = f64::from(p);
    let mut order: Vec<usize> = (0..scores.len()).filter(|&token| scores[token] > f32::NEG_INFINITY).collect();
    let larger = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)); // of equal ones the first
    let (mut sorted, mut together, mut kept) = (0, 0.0, 0);
    while kept == sorted && sorted < order.len() {
        let rest = &mut order[sorted..];
        let count = (sorted * 4).clamp(64, rest.len().max(64)).min(rest.len());
        if count < rest.len() {
            rest.select_nth_unstable_by(count - 1, larger);
        }
        rest[..count].sort_unstable_by(larger);
        sorted += count;
        while kept < sorted && (kept == 0 || together < p) {
            together += probabilities[order[kept]];
            kept += 1;
        }
    }
    for &token in &order[kept..] {
        scores[token] = f32::NEG_INFINITY;
    }
}

/// `MinPLogitsWarper`: tokens of less than the share p of the largest probability go.
fn keep_min_p(scores: &mut [f32], p: f32) {
    let probabilities = softmax(scores);
    let smallest = f64::from(p) * probabilities.iter().copied().fold(0.0, f64::max);
    for (score, _) in scores.iter_mut().zip(probabilities).filter(|(_, probability)| *probability < smallest) {
        *score = f32::NEG_INFINITY;
    }
}

fn softmax(scores: &[f32]) -> Vec<f64> {
    let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if best == f32::NEG_INFINITY {
        return vec![0.0; scores.len()];
    }
    let weights: Vec<f64> = scores.iter().map(|&score| f64::from(score - best).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// Natural log-probability of a token, over all logits.
pub(crate) fn log_probability(logits: &[f32], token: u32) -> f64 {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|&logit| f64::from(logit - best).exp()).sum();
    logits.get(token as usize).map_or(f64::NEG_INFINITY, |&logit| f64::from(logit - best) - total.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule as `transformers` has it, from a sorted list.
    #[test]
    fn top_p_is_that_of_a_sorted_list() {
        let score = |i: usize| ((i * 7919 + 13) % 997) as f32 * 0.02 - if i.is_multiple_of(3) { 9.0 } else { 0.0 };
        for count in [1, 5, 63, 64, 65, 1000] {
            for p in [0.0, 0.1, 0.5, 0.9, 0.999, 1.0 - 1e-6] {
                let scores: Vec<f32> = (0..count).map(score).collect();
                let mut found = scores.clone();
                keep_top_p(&mut found, p);
                let probabilities = softmax(&scores);
                let mut order: Vec<usize> = (0..count).collect();
                order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(b.cmp(&a)));
                let mut together = 0.0;
                for &token in &order {
                    together += probabilities[token];
                    let goes = together <= 1.0 - f64::from(p) && Some(&token) != order.last();
                    assert_eq!(found[token] == f32::NEG_INFINITY, goes, "{count}, {p}, {token}");
                }
            }
        }
    }

    #[test]
    fn padding_and_ruled_out_tokens_are_never_sampled() {
        let settings = Sampling {
            temperature: 5.0,
            vocabulary: Some(3),
            logit_bias: vec![(1, f32::NEG_INFINITY)],
            ..Sampling::default()
        };
        let mut sampler = Sampler::new(settings.clone(), &[], 0);
        let drawn: Vec<u32> = (0..200).filter_map(|_| sampler.sample(&[0.0, 9.0, 0.0, 99.0])).collect();
        assert_eq!(drawn.len(), 200);
        assert!(drawn.contains(&0) && drawn.contains(&2) && !drawn.contains(&1) && !drawn.contains(&3));
        let greedy = Sampling { temperature: 0.0, ..settings.clone() };
        assert_eq!(Sampler::new(greedy, &[], 0).sample(&[0.0, 9.0, 0.1, 99.0]), Some(2));
        let nothing = Sampling { vocabulary: Some(1), logit_bias: vec![(0, f32::NEG_INFINITY)], ..settings };
        assert_eq!(Sampler::new(nothing, &[], 0).sample(&[0.0, 9.0]), None);
    }

    #[test]
    fn settings_of_any_size_leave_the_choice_to_the_logits() {
        let logits = [1.0, 3.0, -2.0, 2.9];
        let draws = |settings: Sampling, seen: &[u32]| {
            settings.validate(4).unwrap();
            let mut sampler = Sampler::new(settings, seen, 0);
            assert!(sampler.scores(&logits).iter().all(|score| !score.is_nan()));
            sampler.sample(&logits)
        };
        for temperature in [f32::from_bits(1), 1e-38, 1e-30] {
            let cold = Sampling { temperature, ..Sampling::default() };
            assert_eq!(draws(cold.clone(), &[]), Some(1), "{temperature}");
            assert_eq!(draws(Sampling { top_p: 0.9, min_p: 0.1, top_k: 3, ..cold }, &[]), Some(1), "{temperature}");
        }
        for temperature in [1e-38, 1.0] {
            // A token that was there and is divided by next to nothing leads; nothing else does.
            let penalty = Sampling { temperature, repetition_penalty: 1e-39, ..Sampling::default() };
            assert_eq!(draws(penalty, &[0]), Some(0));
            let bias = Sampling { temperature, logit_bias: vec![(2, f32::MAX)], ..Sampling::default() };
            assert_eq!(draws(bias, &[]), Some(2));
        }
    }

    #[test]
    fn tokens_come_with_their_probabilities_and_a_seed_repeats_them() {
        let settings = Sampling { temperature: 1.0, seed: 3, ..Sampling::default() };
        let logits = [0.1_f32.ln(), 0.6_f32.ln(), 0.3_f32.ln()];
        let draw = |number: u64| -> Vec<u32> {
            let mut sampler = Sampler::new(settings.clone(), &[], number);
            (0..20_000).filter_map(|_| sampler.sample(&logits)).collect()
        };
        let drawn = draw(0);
        for (token, expected) in [(0, 0.1), (1, 0.6), (2, 0.3)] {
            let share = drawn.iter().filter(|&&other| other == token).count() as f64 / 20_000.0;
            assert!((share - expected).abs() < 0.015, "token {token}: {share}"); // four standard deviations
        }
        assert_eq!(drawn, draw(0));
        assert_ne!(drawn, draw(1));
    }
}
