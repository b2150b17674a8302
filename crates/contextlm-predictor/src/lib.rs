//! The next-context predictor of ContextLM: the context predictor in Figure 2 of the paper (arXiv 2510.20280).

mod predictor;

pub use predictor::{ContextPredictor, ContextPredictorConfig};
