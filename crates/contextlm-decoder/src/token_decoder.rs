use burn::module::Module;
use burn::tensor::Tensor;
use contextlm_backbone::Backbone;
use contextlm_embedding::ChunkGrid;
use contextlm_nn::Positions;

use crate::{Fusion, FusionKind, Interleave, ZeroContexts};

/// Fusion of the predicted contexts, and the blocks after it.
#[derive(Module, Debug)]
pub struct TokenDecoder {
    /// The fusion.
    pub fusion: Fusion,
    /// Blocks that belong to the token encoder; the decoder runs the others.
    #[module(skip)]
    encoder_layers: usize,
    /// Whether the initial context is an entry under `interleave`.
    #[module(skip)]
    initial_entry: bool,
}

impl TokenDecoder {
    /// A decoder that runs the blocks from `encoder_layers` on. `initial_entry` says whether there is an initial
    /// context to interleave (it is not `zero`).
    pub fn new(fusion: Fusion, encoder_layers: usize, initial_entry: bool) -> Self {
        Self { fusion, encoder_layers, initial_entry }
    }

    /// From encoded tokens and predicted contexts to the states that the final norm and the head take.
    ///
    /// # Shapes
    /// h [B, T, D], c_hat [B, K+1, D] to [B, T, D]
    pub fn forward<B: Backbone>(
        &self,
        backbone: &B,
        states: Tensor<3>,
        contexts: Tensor<3>,
        grid: &ChunkGrid,
        at: &Positions,
    ) -> Tensor<3> {
        let blocks = self.encoder_layers..backbone.spec().layers;
        if self.fusion.kind() != FusionKind::Interleave {
            return backbone.blocks(self.fusion.forward(states, contexts, grid), blocks, at, None);
        }
        if self.fusion.zeros() == ZeroContexts::All {
            return backbone.blocks(states, blocks, at, None); // no context is there to be an entry
        }
        let device = states.device();
        let interleave = Interleave::new(grid.length(), at.documents(), grid.chunk_size(), self.initial_entry);
        let entries = interleave.insert(states, contexts);
        interleave.remove(backbone.blocks(entries, blocks, &interleave.positions(&device), None))
    }
}
