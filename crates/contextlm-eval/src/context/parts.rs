use contextlm_core::{Backbone, ChunkGrid, ContextLm, ContextPath, ContextPredictor, Device, Int, Positions, Tensor};

use crate::EvalError;

/// A model that predicts contexts, with its parts at hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'m, B: Backbone> {
    pub model: &'m ContextLm<B>,
    pub path: &'m ContextPath,
    pub predictor: &'m ContextPredictor,
    pub chunk_size: usize,
    pub encoder_layers: usize,
}

/// What stands between the token encoder and the decoder.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    /// h, [B, T, D].
    pub states: Tensor<3>,
    /// c, [B, K, D].
    pub chunks: Tensor<3>,
    /// c_hat, [B, K+1, D].
    pub contexts: Tensor<3>,
    pub at: Positions,
    pub grid: ChunkGrid,
}

impl<'m, B: Backbone> Parts<'m, B> {
    /// # Errors
    /// [`EvalError::NoContexts`] for a model that predicts none.
    pub fn of(model: &'m ContextLm<B>) -> Result<Self, EvalError> {
        let none = |found: &'static str| EvalError::NoContexts { found };
        let (Some(path), Some(settings)) = (&model.context, model.settings()) else {
            return Err(none("a plain backbone"));
        };
        let predictor = path.predictor.as_ref().ok_or(none("one with source = constant"))?;
        Ok(Self { model, path, predictor, chunk_size: settings.chunk_size, encoder_layers: settings.encoder_layers })
    }

    /// Token encoder, context embedding and predictor on rows of at least one chunk.
    ///
    /// # Shapes
    /// tokens [B, T]
    ///
    /// # Errors
    /// [`EvalError::Setting`] for rows of less than a chunk.
    pub fn encode(&self, tokens: Tensor<2, Int>) -> Result<Encoded, EvalError> {
        let ([rows, length], device) = (tokens.dims(), tokens.device());
        let at = Positions::causal(length, &device);
        let grid = ChunkGrid::at(&at, self.chunk_size);
        let embedded = self.model.backbone.embed(tokens, &at);
        let states = self.model.backbone.blocks(embedded, 0..self.encoder_layers, &at, None);
        let chunks = self.path.embedding.forward(states.clone(), &grid);
        let chunks = chunks.ok_or_else(|| EvalError::setting("window", length, "must be at least one chunk"))?;
        let predicted = self.predictor.forward(chunks.clone(), &grid.positions(&device));
        let contexts = self.path.embedding.shift(Some(predicted), rows, &device);
        Ok(Encoded { states, chunks, contexts, at, grid })
    }

    /// Token decoder and final norm under these contexts.
    ///
    /// # Shapes
    /// c_hat [B, K+1, D] to [B, T, D]
    pub fn decode(&self, encoded: &Encoded, contexts: Tensor<3>) -> Tensor<3> {
        let Encoded { states, grid, at, .. } = encoded;
        let states = self.path.decoder.forward(&self.model.backbone, states.clone(), contexts, grid, at);
        self.model.backbone.norm(states)
    }

    /// The initial context, [1, 1, D].
    pub fn initial(&self, device: &Device) -> Tensor<3> {
        self.path.embedding.initial(1, device)
    }
}
