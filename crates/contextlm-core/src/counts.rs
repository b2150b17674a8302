use burn::module::Module;
use contextlm_backbone::Backbone;
use contextlm_decoder::FusionKind;
use contextlm_embedding::Pooling;

use crate::{ContextLm, Source};

/// Numbers of parameters by part. A tied head counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// The plain backbone.
    pub backbone: usize,
    /// Initial context, pooling, predictor and fusion.
    pub context: usize,
    /// Both.
    pub total: usize,
}

/// Arithmetic of a forward pass for one token, by nanoGPT's rule: 2 for every weight of a linear map (head
/// included, look-ups not), and 4 x heads x head_dim x N a layer for attention over N entries, without a discount
/// for causality. Training counts 3 times that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlopsPerToken {
    /// The plain backbone.
    pub backbone: u64,
    /// The predictor over N/w chunks, divided by w; pooling and fusion; under `interleave` the decoder's extra
    /// entries, one in w tokens.
    pub context: u64,
    /// Both.
    pub total: u64,
}

impl<B: Backbone> ContextLm<B> {
    /// Counts parameters by their shapes; nothing is allocated.
    pub fn parameters(&self) -> Parameters {
        let backbone = Module::num_params(&self.backbone);
        let context = self.context.as_ref().map_or(0, Module::num_params);
        Parameters { backbone, context, total: backbone + context }
    }

    /// Arithmetic a token where the sequence has `length` tokens; `None` for a backbone that does not tell its own.
    ///
    /// A fusion's map of the contexts is counted for every token, as it is defined; it is computed once a chunk.
    pub fn flops_per_token(&self, length: usize) -> Option<FlopsPerToken> {
        let spec = self.backbone.spec();
        let flops = self.backbone.flops(length)?;
        let backbone = spec.layers as u64 * flops.block + flops.head;
        let context = self.settings().map_or(0, |settings| {
            let (w, square) = (settings.chunk_size as u64, (spec.width * spec.width) as u64);
            let predicted = settings.source == Source::Predicted;
            let layers = if predicted { settings.predictor_layers as u64 } else { 0 };
            let predictor = layers * spec.predictor_block.flops_per_entry(length / settings.chunk_size) / w;
            let pooling = if predicted && settings.pooling == Pooling::Learned { 2 * square } else { 0 };
            let fusion = match settings.fusion {
                FusionKind::ProjectedAdd => 2 * square,
                FusionKind::Concat => 4 * square,
                FusionKind::Interleave => (spec.layers - settings.encoder_layers) as u64 * flops.block / w,
                FusionKind::Add | FusionKind::NormedAdd | FusionKind::GatedAdd => 0,
            };
            predictor + pooling + fusion
        });
        Some(FlopsPerToken { backbone, context, total: backbone + context })
    }
}
