use burn::tensor::Tensor;

use super::parts::Encoded;
use crate::EvalError;

/// Means of all predicted contexts and of all chunk embeddings.
#[derive(Default)]
pub(super) struct Means {
    contexts: Option<Tensor<3>>,
    chunks: Option<Tensor<3>>,
    count: usize,
}

impl Means {
    pub fn add(&mut self, encoded: &Encoded) {
        let [rows, count, _] = encoded.chunks.dims();
        // The initial context is not predicted.
        add(&mut self.contexts, encoded.contexts.clone().narrow(1, 1, count));
        add(&mut self.chunks, encoded.chunks.clone());
        self.count += rows * count;
    }

    /// Both, [1, 1, D].
    pub fn finish(self) -> Result<(Tensor<3>, Tensor<3>), EvalError> {
        let mean = |sum: Option<Tensor<3>>| sum.map(|sum| sum.div_scalar(self.count as f64));
        // Windows have at least two chunks.
        mean(self.contexts)
            .zip(mean(self.chunks))
            .ok_or_else(|| EvalError::setting("window", 0, "must be a chunk or more"))
    }
}

fn add(sum: &mut Option<Tensor<3>>, more: Tensor<3>) {
    let more = more.sum_dim(1).sum_dim(0);
    *sum = Some(match sum.take() {
        Some(sum) => sum + more,
        None => more,
    });
}
