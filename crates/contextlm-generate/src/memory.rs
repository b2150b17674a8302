use burn::tensor::Device;
use contextlm_core::{Backbone, ContextLm, DecodingCache, FusionKind, Source};

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
    /// What a model's caches take; `None` where the backbone has no caches. Nothing is allocated, and no parameter is
    /// looked at.
    pub fn of<B: Backbone>(model: &ContextLm<B>, device: &Device) -> Option<Self> {
        let layers = model.backbone.spec().layers;
        let cut = model.settings().map_or(layers, |settings| settings.encoder_layers);
        let encoder = entry(&model.backbone.new_caches(0..cut, 0, 1, device)?);
        let decoder = entry(&model.backbone.new_caches(cut..layers, 0, 1, device)?);
        let predictor = model.context.as_ref().and_then(|path| path.predictor.as_ref());
        let predictor = predictor.map_or(0, |predictor| entry(&predictor.new_caches(0, 1, device)));
        let Some(settings) = model.settings() else {
            return Some(Self { per_token: encoder, per_chunk: 0, per_sequence: 0 });
        };
        let context_entry = if settings.fusion == FusionKind::Interleave { decoder } else { 0 };
        let open = if settings.source == Source::Predicted { settings.chunk_size - 1 } else { 0 };
        let state = model.backbone.spec().width.saturating_mul(size_of::<f32>());
        Some(Self {
            per_token: encoder.saturating_add(decoder),
            per_chunk: predictor.saturating_add(context_entry),
            per_sequence: (open + 1).saturating_mul(state),
        })
    }
}

/// Bytes of an entry in all of these.
fn entry<C: DecodingCache>(caches: &[C]) -> usize {
    caches.iter().map(DecodingCache::bytes_per_entry).fold(0, usize::saturating_add)
}
