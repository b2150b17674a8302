use contextlm_nn::BlockConfig;

/// The sizes of a backbone that the parts around it are built from.
#[derive(Debug, Clone, PartialEq)]
pub struct BackboneSpec {
    /// Width of the token states, D.
    pub width: usize,
    /// Number of blocks, L.
    pub layers: usize,
    /// Rows of the token embedding and of the head, V.
    pub vocabulary: usize,
    /// Largest number of positions: a hard limit where positions are learned, the trained length elsewhere.
    pub max_positions: usize,
    /// The block that the next-context predictor is built from, of the backbone's kind.
    pub predictor_block: BlockConfig,
}

impl BackboneSpec {
    /// A spec whose predictor block follows from the width ([`BlockConfig::for_width`]).
    pub fn new(width: usize, layers: usize, vocabulary: usize, max_positions: usize) -> Self {
        Self { width, layers, vocabulary, max_positions, predictor_block: BlockConfig::for_width(width) }
    }
}

/// Arithmetic of a backbone's forward pass for one token; 2 for each weight of a linear map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackboneFlops {
    /// One block.
    pub block: u64,
    /// The LM head.
    pub head: u64,
}
