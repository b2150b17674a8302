use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor};
use contextlm_nn::{Init, cast};

use crate::{ChunkGrid, Pool, Pooling};

/// How the context that guides the positions before the first prediction starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InitialContext {
    /// A parameter drawn from normal(0, std); 0 with a standard deviation of 0.
    Learned {
        /// Standard deviation of the first values.
        std: f64,
    },
    /// No parameter: zeros.
    Zero,
}

/// Settings of the context embedding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ContextEmbeddingConfig {
    /// Width of the states, D.
    pub width: usize,
    /// Tokens in a chunk, w.
    pub chunk_size: usize,
    /// Pooling of a chunk; `None` where nothing is pooled (the `constant` source).
    pub pooling: Option<Pooling>,
    /// The initial context.
    pub initial: InitialContext,
}

/// Cuts token states into chunks, pools each one, and holds the initial context.
#[derive(Module, Debug)]
pub struct ContextEmbedding {
    /// Pooling; absent where nothing is pooled.
    pub pool: Option<Pool>,
    /// The initial context, `[D]`; absent where it is zero.
    pub initial: Option<Param<Tensor<1>>>,
    #[module(skip)]
    config: ContextEmbeddingConfig,
}

impl ContextEmbeddingConfig {
    /// Fresh parameters.
    pub fn init(&self, init: &Init, device: &Device) -> ContextEmbedding {
        ContextEmbedding {
            pool: self.pooling.map(|pooling| pooling.init(&init.at("pool"), self.width, self.chunk_size, device)),
            initial: match self.initial {
                InitialContext::Zero => None,
                InitialContext::Learned { std: 0.0 } => Some(init.constant([self.width], 0.0, device)),
                InitialContext::Learned { std } => Some(init.normal("initial", [self.width], std, device)),
            },
            config: *self,
        }
    }
}

impl ContextEmbedding {
    /// Context embeddings of the complete chunks; `None` if there is no complete chunk, or nothing is pooled.
    ///
    /// # Shapes
    /// h [B, T, D] to c [B, K, D]
    pub fn forward(&self, states: Tensor<3>, grid: &ChunkGrid) -> Option<Tensor<3>> {
        let pool = self.pool.as_ref()?;
        (grid.chunks() > 0).then(|| pool.forward(grid.cut(states)))
    }

    /// The initial context for every row.
    ///
    /// # Shapes
    /// [B, 1, D]
    pub fn initial(&self, rows: usize, device: &Device) -> Tensor<3> {
        let shape = [rows, 1, self.config.width];
        match &self.initial {
            Some(initial) => cast(initial.val(), DType::F32).unsqueeze::<3>().expand(shape),
            None => Tensor::zeros(shape, device),
        }
    }

    /// The contexts that guide the tokens: the initial one, then the predictions, so that `c_hat[k]` was made
    /// from the chunks before chunk k.
    ///
    /// # Shapes
    /// p [B, K, D] to c_hat [B, K+1, D]
    pub fn shift(&self, predicted: Option<Tensor<3>>, rows: usize, device: &Device) -> Tensor<3> {
        let initial = self.initial(rows, device);
        match predicted {
            Some(predicted) => Tensor::cat(vec![initial, predicted], 1),
            None => initial,
        }
    }

    /// Tokens in a chunk, w.
    pub fn chunk_size(&self) -> usize {
        self.config.chunk_size
    }
}
