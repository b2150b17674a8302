use burn::tensor::{Int, Tensor, TensorData};
use contextlm_core::{Backbone, Device};
use rand_chacha::ChaCha8Rng;

use crate::context::parts::Parts;
use crate::{EvalError, Windows};

/// Chunks, with what is known of each before its tokens are.
pub(super) struct Samples {
    /// The text of every chunk, N.
    pub texts: Vec<usize>,
    /// For every probed place the token of every chunk, N.
    pub tokens: Vec<Vec<u32>>,
    /// Predicted contexts, [N, D].
    contexts: Tensor<2>,
    /// Encoder states of the last token before the chunk, [N, D].
    before: Tensor<2>,
    /// For every probed place the encoder states of the token before it, [N, D].
    states: Vec<Tensor<2>>,
}

impl Samples {
    /// What a place is told from: contexts, states before the chunk, states.
    pub fn vectors(&self, number: usize) -> [&Tensor<2>; 3] {
        [&self.contexts, &self.before, &self.states[number]]
    }
}

/// Encodes all windows, and keeps some chunks of each, drawn without repetition: `count` in all, or the next number that is the
/// same for every window. Chunk 0, which nothing predicts, is never one of them.
#[allow(clippy::too_many_arguments)] // one caller
pub(super) fn collect<B: Backbone>(
    parts: &Parts<'_, B>,
    windows: &Windows,
    places: &[usize],
    count: usize,
    rows: usize,
    rng: &mut ChaCha8Rng,
    device: &Device,
    step: &mut dyn FnMut(),
) -> Result<Samples, EvalError> {
    let (w, length) = (parts.chunk_size, windows.length());
    let predicted = length / w - 1;
    let each = count.div_ceil(windows.len()).clamp(1, predicted);
    let mut texts = Vec::new();
    let mut tokens = vec![Vec::new(); places.len()];
    let (mut contexts, mut before) = (Vec::new(), Vec::new());
    let mut states = vec![Vec::new(); places.len()];

    let all: Vec<usize> = (0..windows.len()).collect();
    for batch in all.chunks(rows) {
        let encoded = parts.encode(windows.inputs(batch, device))?;
        let mut chosen = Vec::new(); // (row, chunk)
        for (row, &window) in batch.iter().enumerate() {
            for k in rand::seq::index::sample(rng, predicted, each).into_iter().map(|i| i + 1) {
                chosen.push((row, k));
                texts.push(windows.text_of(window));
                for (tokens, place) in tokens.iter_mut().zip(places) {
                    tokens.push(windows.tokens(window)[k * w + place]);
                }
            }
        }
        let per_row = length / w + 1;
        contexts.push(pick(&encoded.contexts, chosen.iter().map(|(row, k)| row * per_row + k)));
        let state =
            |place: usize| pick(&encoded.states, chosen.iter().map(|(row, k)| row * length + k * w + place - 1));
        before.push(state(0));
        for (states, &place) in states.iter_mut().zip(places) {
            states.push(state(place));
        }
        step();
    }
    let cat = |parts: Vec<Tensor<2>>| Tensor::cat(parts, 0);
    Ok(Samples {
        texts,
        tokens,
        contexts: cat(contexts),
        before: cat(before),
        states: states.into_iter().map(cat).collect(),
    })
}

/// Rows of [B, N, D], numbered through the batch.
fn pick(all: &Tensor<3>, rows: impl Iterator<Item = usize>) -> Tensor<2> {
    let [batch, count, width] = all.dims();
    let rows: Vec<i64> = rows.map(|row| row as i64).collect();
    let index = Tensor::<1, Int>::from_data(TensorData::new(rows.clone(), [rows.len()]), &all.device());
    all.clone().reshape([batch * count, width]).select(0, index)
}
