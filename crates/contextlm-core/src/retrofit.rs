use burn::tensor::Device;
use contextlm_backbone::{Backbone, BackboneSpec};
use contextlm_decoder::FusionKind;

use crate::{ContextConfig, ContextLm, ContextLmError, Source};

impl<B: Backbone> ContextLm<B> {
    /// Makes a ContextLM of a plain model: the same backbone, parameters and ids included, and fresh context parts
    /// from a seed. Where [`ContextConfig::starts_equal`] holds, its logits are `==` the plain model's until it is
    /// trained.
    ///
    /// # Errors
    /// [`ContextLmError::HasContext`] if the model has a context path already, [`ContextLmError::Context`] where the
    /// settings do not fit the backbone.
    pub fn retrofit(
        plain: ContextLm<B>,
        context: ContextConfig,
        seed: u64,
        device: &Device,
    ) -> Result<ContextLm<B>, ContextLmError> {
        if plain.context.is_some() {
            return Err(ContextLmError::HasContext);
        }
        ContextLm::wrap_seeded(plain.backbone, context, seed, device)
    }
}

impl ContextConfig {
    /// Settings for a trained backbone: the defaults, but the encoder is the first half of the blocks, and the fusion
    /// is `projected_add`, whose projection starts at 0.
    pub fn for_retrofit(spec: &BackboneSpec) -> Self {
        Self { encoder_layers: spec.layers / 2, fusion: FusionKind::ProjectedAdd, ..Self::default() }
    }

    /// Whether a ContextLM with these settings starts out as its plain backbone, to the last bit: `projected_add`,
    /// `concat`, and `gated_add` with a gate of 0 give the contexts no weight; under `source = "constant"` the
    /// contexts themselves are zeros for `add` and `gated_add`.
    pub fn starts_equal(&self) -> bool {
        let zeros = self.source == Source::Constant;
        match self.fusion {
            FusionKind::ProjectedAdd | FusionKind::Concat => true,
            FusionKind::GatedAdd => self.gate_init == 0.0 || zeros,
            FusionKind::Add => zeros,
            FusionKind::NormedAdd | FusionKind::Interleave => false,
        }
    }
}
