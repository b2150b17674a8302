use contextlm_core::{Backbone, ContextLm, Device, LossOptions, Tensor};
use contextlm_data::EvalBatches;

use crate::{TrainError, batch_tensors};

/// What a model makes of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Negative log-likelihood of all scored tokens, nats.
    pub nll: f64,
    /// Scored tokens.
    pub tokens: usize,
}

impl Evaluation {
    /// Mean nats a token.
    pub fn loss(&self) -> f64 {
        self.nll / self.tokens as f64
    }

    /// exp of the mean.
    pub fn perplexity(&self) -> f64 {
        self.loss().exp()
    }
}

/// The loss on every token but the first.
///
/// `device` is without autodiff; give `model.valid()` of a model in training.
///
/// # Errors
/// [`TrainError::Batch`] if a batch does not fit.
pub fn evaluate<B: Backbone>(
    model: &ContextLm<B>,
    batches: &EvalBatches,
    device: &Device,
) -> Result<Evaluation, TrainError> {
    let mut nll = 0.0;
    for batch in batches.iter() {
        let on_device = batch_tensors(&batch, 0, batch.rows, device)?;
        // Dividing by 1 leaves the sum.
        let options = LossOptions { documents: on_device.documents, divisor: Some(1.0), ..LossOptions::default() };
        let loss = model.loss_with(on_device.inputs, on_device.targets, &options).cross_entropy;
        nll += loss.into_scalar::<f64>();
    }
    Ok(Evaluation { nll, tokens: batches.scored() })
}

/// The same, but every window is guided by the contexts of the window before it. The difference to [`evaluate`] is how much
/// the model *relies* on its contexts, which is not what it gains from them.
///
/// `None` for a plain backbone, and where there is only one window. Packed batches are taken as streams.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_with_swapped_contexts<B: Backbone>(
    model: &ContextLm<B>,
    batches: &EvalBatches,
    device: &Device,
) -> Result<Option<Evaluation>, TrainError> {
    let mut nll = 0.0;
    let mut before: Option<Tensor<3>> = None;
    for batch in batches.iter() {
        let on_device = batch_tensors(&batch, 0, batch.rows, device)?;
        let Some(own) = model.predicted_contexts(on_device.inputs.clone()) else {
            return Ok(None);
        };
        let last = own.clone().narrow(0, batch.rows - 1, 1);
        // The first window has none before it and takes the last of its batch.
        let first = match before.replace(last.clone()) {
            Some(before) => before,
            None if batch.rows > 1 => last,
            None => return Ok(None),
        };
        let contexts = match batch.rows {
            1 => first,
            rows => Tensor::cat(vec![first, own.narrow(0, 0, rows - 1)], 0),
        };
        let options = LossOptions { divisor: Some(1.0), contexts: Some(contexts), ..LossOptions::default() };
        let loss = model.loss_with(on_device.inputs, on_device.targets, &options).cross_entropy;
        nll += loss.into_scalar::<f64>();
    }
    Ok(Some(Evaluation { nll, tokens: batches.scored() }))
}
