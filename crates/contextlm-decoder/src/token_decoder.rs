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
        let DecoderInputs { entries, at, interleave } = self.inputs(states, contexts, grid, at);
        let states = backbone.blocks(entries, blocks, &at, None);
        match interleave {
            Some(interleave) => interleave.remove(states),
            None => states,
        }
    }

    /// What the decoder's blocks are given: fused token states, or under `interleave` entries of both kinds.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward)
    pub fn inputs(&self, states: Tensor<3>, contexts: Tensor<3>, grid: &ChunkGrid, at: &Positions) -> DecoderInputs {
        if self.fusion.kind() != FusionKind::Interleave {
            let entries = self.fusion.forward(states, contexts, grid);
            return DecoderInputs { entries, at: at.clone(), interleave: None };
        }
        if self.fusion.zeros() == ZeroContexts::All {
            // No context is there to be an entry.
            return DecoderInputs { entries: states, at: at.clone(), interleave: None };
        }
        let device = states.device();
        let interleave = Interleave::new(grid.length(), at.documents(), grid.chunk_size(), self.initial_entry);
        let entries = interleave.insert(states, contexts);
        DecoderInputs { entries, at: interleave.positions(&device), interleave: Some(interleave) }
    }
}

/// The first states of the decoder's blocks, and where they stand.
#[derive(Debug, Clone)]
pub struct DecoderInputs {
    /// [B, N, D]; N is T but under `interleave`.
    pub entries: Tensor<3>,
    /// Their positions.
    pub at: Positions,
    /// Which entries are tokens, where not all are.
    pub interleave: Option<Interleave>,
}
