use burn::tensor::{DType, Int, Tensor, TensorData};
use contextlm_core::{Backbone, ContextLm, linear, linear_int8};

use crate::EvalError;

/// Bytes of the logits that exist at the same time.
const LOGITS_BYTES: usize = 64 << 20;

/// What a model thinks of one token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenScore {
    /// Natural log-probability, over all V logits.
    pub log_probability: f64,
    /// Whether no other token has a larger logit; of equal ones the first counts.
    pub greedy: bool,
}

/// Turns hidden states into log-probabilities of given tokens. Logits exist for a few positions at a time only.
#[derive(Debug, Clone)]
pub struct TokenScorer {
    /// [D, V]; [V, D] where its weights are of 8 bits.
    head: Tensor<2>,
    int8: bool,
    vocabulary: usize,
}

impl TokenScorer {
    /// For the states of this model, as [`ContextLm::hidden_states`] gives them.
    pub fn new<B: Backbone>(model: &ContextLm<B>) -> Self {
        let vocabulary = model.backbone.spec().vocabulary;
        match model.int8_head() {
            Some(head) => Self { head, int8: true, vocabulary },
            None => Self { head: model.backbone.head().transpose(), int8: false, vocabulary },
        }
    }

    /// The score of one target for every state. The softmax is computed in f32, whatever the model's type.
    ///
    /// # Shapes
    /// states [N, D], N targets
    ///
    /// # Errors
    /// [`EvalError::NotFinite`], [`EvalError::Device`].
    ///
    /// # Panics
    /// If there are not N targets, or one is not below V.
    pub fn score(&self, states: Tensor<2>, targets: &[u32]) -> Result<Vec<TokenScore>, EvalError> {
        let scores = self.unchecked(states, targets)?;
        match scores.iter().find(|score| !score.log_probability.is_finite()) {
            Some(score) => Err(EvalError::NotFinite { value: score.log_probability, group: None }),
            None => Ok(scores),
        }
    }

    /// The same, with log-probabilities that may be no numbers: the caller knows whose they are.
    pub(super) fn unchecked(&self, states: Tensor<2>, targets: &[u32]) -> Result<Vec<TokenScore>, EvalError> {
        let ([count, _], vocabulary) = (states.dims(), self.vocabulary);
        assert_eq!(count, targets.len(), "one target a state");
        let rows = (LOGITS_BYTES / (4 * vocabulary)).max(1);
        let mut scores = Vec::with_capacity(count);
        for (number, targets) in targets.chunks(rows).enumerate() {
            let states = states.clone().narrow(0, number * rows, targets.len());
            let logits = match self.int8 {
                true => linear_int8(states.cast(DType::F32), self.head.clone(), None),
                false => linear(states.cast(self.head.dtype()), self.head.clone(), None).cast(DType::F32),
            }; // [n, V]
            scores.extend(of_logits(logits, targets)?);
        }
        Ok(scores)
    }
}

fn of_logits(logits: Tensor<2>, targets: &[u32]) -> Result<Vec<TokenScore>, EvalError> {
    let ids: Vec<i64> = targets.iter().map(|&target| target.into()).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [targets.len(), 1]), &logits.device());
    let of_targets = logits.clone().gather(1, ids);
    let (largest, best) = logits.clone().max_dim_with_indices(1);
    let sums = (logits - largest.clone()).exp().sum_dim(1).log();
    let values = values(of_targets - largest - sums)?;
    let best: Vec<i64> = best.into_data().convert::<i64>().try_into_vec().map_err(device)?;
    let pairs = values.into_iter().zip(best).zip(targets);
    let score = |((value, best), &target): ((f32, i64), &u32)| TokenScore {
        log_probability: value.into(),
        greedy: best == i64::from(target),
    };
    Ok(pairs.map(score).collect())
}

fn values(tensor: Tensor<2>) -> Result<Vec<f32>, EvalError> {
    tensor.try_into_data_as::<f32>().map_err(device)?.try_into_vec().map_err(device)
}

fn device(error: impl std::fmt::Debug) -> EvalError {
    EvalError::Device { reason: format!("{error:?}") }
}
