use burn::tensor::Device;
use contextlm_core::{Backbone, ContextLm, FusionKind, Source};

use crate::caches::Caches;

/// Bytes that decoding holds for one sequence, in the dtype of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheBytes {
    /// Keys and values of encoder and decoder, for every token.
    pub per_token: usize,
    /// Keys and values of the predictor, for every chunk; under `interleave` also those of the context's entry in the
    /// decoder.
    pub per_chunk: usize,
    /// States of the open chunk, at most, and the newest context: once a sequence.
    pub per_sequence: usize,
}

impl CacheBytes {
    /// What a model's caches take; `None` where the backbone has no caches. Nothing of any size is allocated.
    pub fn of<B: Backbone>(model: &ContextLm<B>, device: &Device) -> Option<Self> {
        let [encoder, decoder, predictor] = Caches::new(model, 1, 1, device)?.bytes();
        let Some(settings) = model.settings() else {
            return Some(Self { per_token: encoder, per_chunk: 0, per_sequence: 0 });
        };
        let context_entry = if settings.fusion == FusionKind::Interleave { decoder } else { 0 };
        let open = if settings.source == Source::Predicted { settings.chunk_size - 1 } else { 0 };
        let state = model.backbone.spec().width * size_of::<f32>();
        Some(Self {
            per_token: encoder + decoder,
            per_chunk: predictor + context_entry,
            per_sequence: (open + 1).saturating_mul(state),
        })
    }
}
