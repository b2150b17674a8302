use burn::tensor::{DType, Int, Tensor, TensorData};
use contextlm_core::{Backbone, ContextLm};

use crate::EvalError;

/// Logits that exist at the same time, 128 MiB of f32.
const LOGITS: usize = 32 << 20;

/// Negative log-likelihood of a target at every position, nats, over all V logits.
///
/// # Shapes
/// normed states [B, T, D] and B*T targets, each below V, to B*T values
pub(crate) fn nll_of_states<B: Backbone>(
    model: &ContextLm<B>,
    states: Tensor<3>,
    targets: &[i64],
) -> Result<Vec<f64>, EvalError> {
    let head = model.backbone.head().transpose();
    let [rows, length, width] = states.dims();
    let [_, vocabulary] = head.dims();
    let states = states.reshape([rows * length, width]).cast(head.dtype());
    let slice = (LOGITS / vocabulary.max(1)).max(1);
    let mut all = Vec::with_capacity(targets.len());
    for (number, targets) in targets.chunks(slice).enumerate() {
        let logits = states.clone().narrow(0, number * slice, targets.len()).matmul(head.clone());
        all.extend(nll_of_logits(logits, targets)?);
    }
    Ok(all)
}

/// The same from logits, [N, V] and N targets to N values.
pub(crate) fn nll_of_logits(logits: Tensor<2>, targets: &[i64]) -> Result<Vec<f64>, EvalError> {
    let (logits, device) = (logits.cast(DType::F32), logits.device());
    let index = Tensor::<2, Int>::from_data(TensorData::new(targets.to_vec(), [targets.len(), 1]), &device);
    let largest = logits.clone().max_dim(1);
    let target = logits.clone().gather(1, index) - largest.clone();
    let sum = (logits - largest).exp().sum_dim(1).log();
    floats(sum - target)
}

/// The values of a tensor.
pub(crate) fn floats<const R: usize>(tensor: Tensor<R>) -> Result<Vec<f64>, EvalError> {
    let values = tensor.into_data().convert::<f32>().try_into_vec::<f32>();
    let values = values.map_err(|error| EvalError::Device { reason: error.to_string() })?;
    Ok(values.into_iter().map(f64::from).collect())
}
