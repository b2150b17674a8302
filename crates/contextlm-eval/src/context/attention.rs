use burn::tensor::Tensor;
use contextlm_core::{Backbone, Block, DecoderInputs, Device, Positions};
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
    /// Mean over all heads of the probability that falls on the entry itself, on the one before it, and on the first one;
    /// rows from the third on.
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

/// The maps of a model.
pub(super) fn attention_maps<B: Backbone>(
    parts: &Parts<'_, B>,
    windows: &Windows,
    device: &Device,
) -> Result<AttentionMaps, EvalError> {
    let count = windows.len().min(WINDOWS);
    let chosen: Vec<usize> = (0..count).map(|i| i * windows.len() / count).collect();
    let inputs = windows.inputs(&chosen, device);
    // What comes later changes nothing before.
    let of_chunks = (ENTRIES * parts.chunk_size).min(windows.length());
    let encoded = parts.encode(inputs.clone().narrow(1, 0, of_chunks))?;
    let at = encoded.grid.positions(device);
    let predictor = maps(&parts.predictor.layers, 0, encoded.chunks, &at)?;

    let Some(blocks) = parts.model.backbone.own_blocks() else {
        return Ok(AttentionMaps { windows: count, predictor, decoder: None, context_entries: vec![] });
    };
    let of_tokens = ENTRIES.max(parts.chunk_size).min(windows.length());
    let encoded = parts.encode(inputs.narrow(1, 0, of_tokens))?;
    let DecoderInputs { entries, at, interleave } =
        parts.path.decoder.inputs(encoded.states, encoded.contexts, &encoded.grid, &encoded.at);
    let first = parts.encoder_layers;
    let decoder = maps(blocks.get(first..).unwrap_or_default(), first, entries, &at)?;
    let mut context_entries = interleave.map(|interleave| interleave.contexts()).unwrap_or_default();
    context_entries.truncate(ENTRIES);
    Ok(AttentionMaps { windows: count, predictor, decoder: Some(decoder), context_entries })
}

/// The maps of a stack of blocks, the first of which has this number.
fn maps(blocks: &[Block], first: usize, mut x: Tensor<3>, at: &Positions) -> Result<Vec<AttentionMap>, EvalError> {
    let rotary = blocks.first().and_then(|block| block.rotary(at));
    let mut maps = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        let weights = block.attention_weights(x.clone(), at, rotary.as_ref()); // [B, H, N, N]
        maps.push(map(first + i, weights)?);
        x = block.forward(x, at, rotary.as_ref(), None);
    }
    Ok(maps)
}

fn map(layer: usize, weights: Tensor<4>) -> Result<AttentionMap, EvalError> {
    let [_, heads, all, _] = weights.dims();
    let entries = all.min(ENTRIES);
    let shown = weights.narrow(2, 0, entries).narrow(3, 0, entries).mean_dim(0); // [1, H, N, N]
    let mean = floats(shown.clone().mean_dim(1))?;
    let by_head = floats(shown)?;
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
        heads: by_head.chunks(by_head.len() / heads.max(1)).map(<[f64]>::to_vec).collect(),
        mean,
    })
}
