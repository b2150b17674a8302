use burn::tensor::Tensor;
use contextlm_core::{Backbone, Block, ChunkGrid, DecoderInputs, Device, Positions};
use serde::Serialize;

use super::parts::Parts;
use crate::nll::floats;
use crate::{EvalError, Windows};

/// Windows that a map is the mean of.
const WINDOWS: usize = 16;
/// Entries of a map, at most.
const ENTRIES: usize = 32;

/// Attention probabilities of every block, means over some windows: of their first chunks in the predictor, of their first
/// entries in the decoder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttentionMaps {
    /// Windows that are averaged.
    pub windows: usize,
    /// Blocks of the predictor, over chunks.
    pub predictor: Vec<AttentionMap>,
    /// Blocks of the decoder, over entries; `None` where the backbone's blocks are not our own.
    pub decoder: Option<Vec<AttentionMap>>,
    /// Under `interleave`, which entries of the decoder are contexts.
    #[serde(skip)]
    pub context_entries: Vec<bool>,
}

/// The attention of one block.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttentionMap {
    /// Block, counted through the model it is in.
    pub layer: usize,
    /// Mean over heads, and over rows from the third on, of the probability that falls on the entry itself.
    pub on_itself: f64,
    /// On the entry before.
    pub on_previous: f64,
    /// On the first entry.
    pub on_first: f64,
    /// Entries, N.
    pub entries: usize,
    /// Mean over heads, N*N, row after row: entry t attends to entry s.
    #[serde(skip)]
    pub mean: Vec<f64>,
    /// The same, head by head.
    #[serde(skip)]
    pub heads: Vec<Vec<f64>>,
}

/// The maps of a model; `rows` windows go through it at once.
pub(super) fn attention_maps<B: Backbone>(
    parts: &Parts<'_, B>,
    windows: &Windows,
    rows: usize,
    device: &Device,
) -> Result<AttentionMaps, EvalError> {
    let count = windows.len().min(WINDOWS);
    let chosen: Vec<usize> = (0..count).map(|i| i * windows.len() / count).collect();
    let w = parts.chunk_size;
    // What comes later changes nothing before.
    let length = (ENTRIES * w).min(windows.length());
    let blocks = parts.model.backbone.own_blocks();
    let (mut predictor, mut decoder, mut context_entries) = (Vec::new(), Vec::new(), Vec::new());
    for batch in chosen.chunks(rows) {
        let encoded = parts.encode(windows.inputs(batch, device).narrow(1, 0, length))?;
        let at = encoded.grid.positions(device);
        add(&mut predictor, weights(&parts.predictor.layers, encoded.chunks, &at));
        let Some(blocks) = blocks else { continue };
        let tokens = length.min(ENTRIES);
        let (grid, at) = (ChunkGrid::uniform(tokens, w), Positions::causal(tokens, device));
        let (states, contexts) = (encoded.states.narrow(1, 0, tokens), encoded.contexts.narrow(1, 0, tokens / w + 1));
        let DecoderInputs { entries, at, interleave } = parts.path.decoder.inputs(states, contexts, &grid, &at);
        add(&mut decoder, weights(blocks.get(parts.encoder_layers..).unwrap_or_default(), entries, &at));
        context_entries = interleave.map(|interleave| interleave.contexts()).unwrap_or_default();
    }
    context_entries.truncate(ENTRIES);
    let maps = |sums: Vec<Tensor<3>>, first: usize| {
        let means = sums.into_iter().map(|sum| sum.div_scalar(count as f64));
        means.enumerate().map(|(i, mean)| map(first + i, mean)).collect::<Result<Vec<_>, _>>()
    };
    let decoder = if blocks.is_some() { Some(maps(decoder, parts.encoder_layers)?) } else { None };
    Ok(AttentionMaps { windows: count, predictor: maps(predictor, 0)?, decoder, context_entries })
}

/// Attention among the first entries, summed over the rows: [H, N, N] for every block of a stack.
fn weights(blocks: &[Block], mut x: Tensor<3>, at: &Positions) -> Vec<Tensor<3>> {
    let rotary = blocks.first().and_then(|block| block.rotary(at));
    let mut all = Vec::new();
    for block in blocks {
        let weights = block.attention_weights(x.clone(), at, rotary.as_ref()); // [B, H, M, M]
        let entries = weights.dims()[2].min(ENTRIES);
        all.push(weights.narrow(2, 0, entries).narrow(3, 0, entries).sum_dim(0).squeeze_dim(0));
        x = block.forward(x, at, rotary.as_ref(), None);
    }
    all
}

fn add(sums: &mut Vec<Tensor<3>>, more: Vec<Tensor<3>>) {
    *sums = match sums.is_empty() {
        true => more,
        false => sums.drain(..).zip(more).map(|(sum, more)| sum + more).collect(),
    };
}

/// # Shapes
/// [H, N, N]
fn map(layer: usize, mean: Tensor<3>) -> Result<AttentionMap, EvalError> {
    let [heads, entries, _] = mean.dims();
    let of_heads = floats(mean.clone())?;
    let mean = floats(mean.mean_dim(0))?;
    let rows = 2..entries;
    let on = |entry: fn(usize) -> usize| {
        rows.clone().map(|t| mean[t * entries + entry(t)]).sum::<f64>() / rows.len().max(1) as f64
    };
    Ok(AttentionMap {
        layer,
        on_itself: on(|t| t),
        on_previous: on(|t| t - 1),
        on_first: on(|_| 0),
        entries,
        heads: of_heads.chunks(of_heads.len() / heads.max(1)).map(<[f64]>::to_vec).collect(),
        mean,
    })
}
