use contextlm_core::{Backbone, ContextLm, Device, LossOptions, Tensor};
use contextlm_data::EvalBatches;

use crate::tensors::check_batch;
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
        check_batch(&batch, &model.backbone.spec())?;
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
        check_batch(&batch, &model.backbone.spec())?;
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

#[cfg(test)]
mod tests {
    use contextlm_core::{BackboneConfig, ContextLmConfig, Gpt2Config, Int};

    use super::*;

    const LENGTH: usize = 6;

    fn model(context: bool) -> ContextLm {
        let backbone = Gpt2Config {
            vocab_size: 23,
            n_positions: LENGTH,
            n_embd: 16,
            n_layer: 2,
            n_head: 2,
            initializer_range: 0.2,
            ..Gpt2Config::default()
        };
        let config = ContextLmConfig::new(BackboneConfig::Gpt2(backbone));
        let config = if context { config.with_default_context() } else { config };
        config.init(&contextlm_device::device("cpu").unwrap()).unwrap()
    }

    fn text() -> Vec<u32> {
        (0..41).map(|i| (i * i + 5 * i) % 23).collect()
    }

    fn window(tokens: &[u32], device: &Device) -> Tensor<2, Int> {
        let ids: Vec<i64> = tokens.iter().map(|&token| token.into()).collect();
        Tensor::<1, Int>::from_ints(ids.as_slice(), device).unsqueeze()
    }

    /// Negative log-likelihood of a window, guided by given contexts or its own.
    fn nll(model: &ContextLm, from: usize, contexts: Option<Tensor<3>>, device: &Device) -> f64 {
        let (tokens, to) = (text(), (from + LENGTH).min(40));
        let options = LossOptions { contexts, divisor: Some(1.0), ..LossOptions::default() };
        let (inputs, targets) = (window(&tokens[from..to], device), window(&tokens[from + 1..=to], device));
        model.loss_with(inputs, targets, &options).total.into_scalar::<f64>()
    }

    #[test]
    fn every_token_but_the_first_is_scored_once() {
        let device = contextlm_device::device("cpu").unwrap();
        let model = model(true);
        // Seven windows, the last one short, in batches of three.
        let batches = EvalBatches::new(text(), LENGTH, 3).unwrap();
        let found = evaluate(&model, &batches, &device).unwrap();
        let expected: f64 = (0..40).step_by(LENGTH).map(|from| nll(&model, from, None, &device)).sum();
        assert_eq!(found.tokens, 40);
        assert!((found.nll - expected).abs() < 1e-4, "{} and {expected}", found.nll);
        assert!((found.perplexity() - (expected / 40.0).exp()).abs() < 1e-4);
    }

    #[test]
    fn swapped_contexts_are_those_of_the_window_before() {
        let device = contextlm_device::device("cpu").unwrap();
        let model = model(true);
        let tokens: Vec<u32> = text()[..37].to_vec(); // six whole windows
        let batches = EvalBatches::new(tokens, LENGTH, 3).unwrap();
        let found = evaluate_with_swapped_contexts(&model, &batches, &device).unwrap().unwrap();
        let contexts = |from: usize| model.predicted_contexts(window(&text()[from..from + LENGTH], &device));
        // The first window takes those of the last one in its batch.
        let before = [12, 0, 6, 12, 18, 24];
        let expected: f64 =
            before.iter().enumerate().map(|(i, &before)| nll(&model, i * LENGTH, contexts(before), &device)).sum();
        assert!((found.nll - expected).abs() < 1e-4, "{} and {expected}", found.nll);
        let own = evaluate(&model, &batches, &device).unwrap();
        assert!((found.nll - own.nll).abs() > 1e-2, "the swap shows");
    }

    #[test]
    fn a_plain_model_has_no_contexts_to_swap() {
        let device = contextlm_device::device("cpu").unwrap();
        let batches = EvalBatches::new(text(), LENGTH, 3).unwrap();
        assert!(evaluate_with_swapped_contexts(&model(false), &batches, &device).unwrap().is_none());
    }

    #[test]
    fn tokens_and_lengths_that_are_not_the_models_are_refused() {
        let device = contextlm_device::device("cpu").unwrap();
        let model = model(false);
        let mut tokens = text();
        tokens[17] = 23;
        let message = |tokens: Vec<u32>, length| {
            let batches = EvalBatches::new(tokens, length, 3).unwrap();
            evaluate(&model, &batches, &device).unwrap_err().to_string()
        };
        assert!(message(tokens, LENGTH).contains("token 23, but the model has 23"));
        assert!(message(text(), LENGTH + 1).contains("7 tokens, but the model has 6 positions"));
    }
}
