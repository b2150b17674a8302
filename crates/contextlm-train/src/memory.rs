use contextlm_core::{Backbone, BlockConfig, ContextLm, FusionKind, Source};
use serde::Serialize;

use crate::{OptimizerName, TrainDtype};

/// Bytes that a step of training holds at the same time at least.
///
/// What a backend keeps beyond that is its own affair: attention probabilities where attention is composed of single
/// operations ([`attention`](Self::attention), one copy), several copies of a norm's input, buffers of matrix products. So
/// this tells that a model cannot fit, and never that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// f32 parameters, and their copy in bf16 in mixed precision.
    pub parameters: u64,
    /// f32 gradients; those of one micro-batch beside the sum of those before it.
    pub gradients: u64,
    /// Moments.
    pub optimizer: u64,
    /// What the backward pass needs of every block: the inputs of its norms and linear maps, queries, keys and values.
    /// Without dropout that is the count of Korthikanti et al. (arXiv 2205.05198), 32 bytes a token and element of the width
    /// in 16 bits.
    pub activations: u64,
    /// Attention probabilities, once; not in the sum, since a fused attention does not keep them.
    pub attention: u64,
    /// All but attention probabilities.
    pub total: u64,
}

/// What a step is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) dtype: TrainDtype,
    pub(crate) optimizer: OptimizerName,
    /// Rows that go through the model at once.
    pub(crate) rows: usize,
    pub(crate) length: usize,
    /// Whether a batch goes through in more than one part.
    pub(crate) accumulates: bool,
    /// Whether cheap operations are computed again in the backward pass.
    pub(crate) checkpoints: bool,
}

impl MemoryEstimate {
    pub(crate) fn of<B: Backbone>(model: &ContextLm<B>, step: Step) -> Self {
        let count = model.parameters().total as u64;
        let (low, value) = match step.dtype {
            TrainDtype::F32 => (0, 4),
            TrainDtype::Bf16 => (2, 2),
        };
        let moments = match step.optimizer {
            OptimizerName::AdamW => 8,
            // Of matrices one; the others are few.
            OptimizerName::Muon => 4,
        };
        let spec = model.backbone.spec();
        let block = &spec.predictor_block;
        let settings = model.settings();
        // Entries that go through a block, as shares of the tokens: those of the backbone, and those of the predictor.
        let chunk = settings.map_or(1.0, |settings| settings.chunk_size as f64);
        let interleaved = settings.filter(|settings| settings.fusion == FusionKind::Interleave);
        let extra = interleaved.map_or(0.0, |settings| (spec.layers - settings.encoder_layers) as f64 / chunk);
        let predictor = settings.filter(|settings| settings.source == Source::Predicted);
        let predictor = predictor.map_or(0.0, |settings| settings.predictor_layers as f64 / chunk);
        let blocks = spec.layers as f64 + extra + predictor;
        let tokens = (step.rows * step.length) as f64;
        // The predictor attends to chunks, w times fewer.
        let attending = spec.layers as f64 + extra + predictor / chunk;
        let probabilities = (block.attention.heads * step.length) as f64;

        let parameters = count * (4 + low);
        let gradients = count * if step.accumulates { 8 } else { 4 };
        let optimizer = count * moments;
        let activations = (tokens * blocks * kept(block, step.checkpoints) as f64) as u64 * value;
        // Softmax is computed in f32.
        let attention = (tokens * attending * probabilities) as u64 * 4;
        let total = parameters + gradients + optimizer + activations;
        Self { parameters, gradients, optimizer, activations, attention, total }
    }
}

/// Values of one entry that a block keeps for the backward pass.
///
/// Checkpointing computes norms and activations again: their results need not be there, only what they are computed from.
fn kept(block: &BlockConfig, checkpoints: bool) -> usize {
    let (attention, mlp) = (&block.attention, &block.mlp);
    let queries = attention.heads * attention.head_dim;
    let keys_and_values = 2 * attention.kv_heads * attention.head_dim;
    // Before and after each norm; after attention, before its output map.
    let stream = if checkpoints { 2 } else { 4 } * attention.width + queries;
    // Two maps: before and after the activation. Three: what the gate and the other map give, the activation, and the product.
    let inner = match mlp.linear_weights() / (mlp.width * mlp.inner).max(1) {
        2 => 2,
        _ => 4,
    } / if checkpoints { 2 } else { 1 };
    stream + queries + keys_and_values + inner * mlp.inner
}

#[cfg(test)]
mod tests {
    use contextlm_core::ContextLmConfig;

    use super::*;

    fn estimate(context: Option<usize>, dtype: TrainDtype) -> MemoryEstimate {
        let device = contextlm_device::device("cpu").unwrap();
        let mut config = ContextLmConfig::preset("gpt2").unwrap();
        if let Some(chunk_size) = context {
            config = config.with_default_context();
            config.context.as_mut().unwrap().chunk_size = chunk_size;
        }
        let step = Step {
            dtype,
            optimizer: OptimizerName::AdamW,
            rows: 8,
            length: 1024,
            accumulates: false,
            checkpoints: false,
        };
        MemoryEstimate::of(&config.init(&device).unwrap(), step)
    }

    #[test]
    fn a_gpt2_keeps_sixteen_values_a_token_and_element() {
        let found = estimate(None, TrainDtype::Bf16);
        assert_eq!(found.activations, 8 * 1024 * 12 * 768 * 16 * 2);
        assert_eq!(found.attention, 8 * 12 * 12 * 1024 * 1024 * 4);
        assert_eq!(
            (found.parameters, found.gradients, found.optimizer),
            (124_439_808 * 6, 124_439_808 * 4, 124_439_808 * 8)
        );
        assert_eq!(estimate(None, TrainDtype::F32).activations, 2 * found.activations);
    }

    #[test]
    fn the_predictor_counts_for_its_chunks() {
        let (plain, context) = (estimate(None, TrainDtype::F32), estimate(Some(4), TrainDtype::F32));
        // Two blocks for a fourth of the entries.
        assert_eq!(context.activations * 24, plain.activations * 25);
        assert!(context.parameters > plain.parameters && context.total > plain.total);
    }
}
