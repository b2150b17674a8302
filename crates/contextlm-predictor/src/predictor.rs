use burn::module::Module;
use burn::tensor::Device;
use burn::tensor::Tensor;
use contextlm_nn::{Block, BlockConfig, Init, KvCache, Norm, Positions};

/// Settings of the predictor.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextPredictorConfig {
    /// The block, of the backbone's kind. Its `rotary` is the choice of positions: with it, chunk k is at
    /// position k w; without it, the predictor knows the order of chunks only through causality.
    pub block: BlockConfig,
    /// Number of blocks; with 0 every chunk predicts itself, before the norm.
    pub layers: usize,
    /// Whether a final norm follows.
    pub norm: bool,
}

/// A causal transformer over context embeddings: from chunks 0..=k it predicts the context of chunk k + 1.
#[derive(Module, Debug)]
pub struct ContextPredictor {
    /// The blocks.
    pub layers: Vec<Block>,
    /// Final norm, if any.
    pub norm: Option<Norm>,
}

impl ContextPredictorConfig {
    /// Fresh weights, drawn as the backbone's are; residual projections are scaled by the predictor's own depth.
    pub fn init(&self, init: &Init, device: &Device) -> ContextPredictor {
        let layer = |i: usize| self.block.init(&init.at(format!("layers.{i}")), self.layers, device);
        let width = self.block.attention.width;
        ContextPredictor {
            layers: (0..self.layers).map(layer).collect(),
            norm: self.norm.then(|| self.block.norm.init(&init.at("norm"), width, device)),
        }
    }
}

impl ContextPredictor {
    /// Predicts the next context from every prefix of chunks.
    ///
    /// # Shapes
    /// c [B, K, D] to p [B, K, D]; `p[k]` predicts chunk k + 1
    pub fn forward(&self, contexts: Tensor<3>, at: &Positions) -> Tensor<3> {
        self.forward_cached(contexts, at, None)
    }

    /// As [`forward`](Self::forward), for chunks that follow those in the caches of
    /// [`new_caches`](Self::new_caches).
    ///
    /// # Shapes
    /// c [B, K, D] to p [B, K, D]
    pub fn forward_cached(&self, contexts: Tensor<3>, at: &Positions, mut caches: Option<&mut [KvCache]>) -> Tensor<3> {
        let rotary = self.layers.first().and_then(|layer| layer.rotary(at));
        let mut predicted = contexts;
        for (i, layer) in self.layers.iter().enumerate() {
            let cache = caches.as_deref_mut().map(|caches| &mut caches[i]);
            predicted = layer.forward(predicted, at, rotary.as_ref(), cache);
        }
        match &self.norm {
            Some(norm) => norm.forward(predicted),
            None => predicted,
        }
    }

    /// Empty caches, one a block, for `rows` sequences of at most `capacity` chunks.
    pub fn new_caches(&self, rows: usize, capacity: usize, device: &Device) -> Vec<KvCache> {
        self.layers.iter().map(|layer| layer.cache(rows, capacity, device)).collect()
    }
}
