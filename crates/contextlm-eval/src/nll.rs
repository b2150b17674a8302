use burn::tensor::Tensor;

use crate::EvalError;
use crate::score::TokenScorer;

/// Negative log-likelihood of a target at every position, nats.
///
/// # Shapes
/// normed states [B, T, D] and B*T targets to B*T values
///
/// # Errors
/// As [`TokenScorer::score`].
pub(crate) fn nll(scorer: &TokenScorer, states: Tensor<3>, targets: &[u32]) -> Result<Vec<f64>, EvalError> {
    let [rows, length, width] = states.dims();
    let scores = scorer.score(states.reshape([rows * length, width]), targets)?;
    Ok(scores.into_iter().map(|score| -score.log_probability).collect())
}

/// The values of a tensor.
///
/// # Errors
/// [`EvalError::Device`].
pub(crate) fn floats<const R: usize>(tensor: Tensor<R>) -> Result<Vec<f64>, EvalError> {
    let values = tensor.into_data().convert::<f32>().try_into_vec::<f32>();
    let values = values.map_err(|error| EvalError::Device { reason: error.to_string() })?;
    Ok(values.into_iter().map(f64::from).collect())
}
