use burn::tensor::Tensor;
use contextlm_core::Backbone;
use serde::Serialize;

use super::parts::{Encoded, Parts};
use super::place::PlaceSums;
use crate::nll::nll;
use crate::score::TokenScorer;
use crate::{EvalError, Windows, estimate::Sums};

/// What predicted contexts are replaced by. The initial context stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Replacement {
    /// The initial context: nothing is predicted.
    Initial,
    /// Their mean over all windows: what is the same in all of them is kept.
    Mean,
    /// Those of another text at the same place; where all windows are of one stream, of a distant window.
    OtherText,
    /// The ones before: every chunk is guided by the prediction of the chunk before it, the first one by the initial context.
    Shifted,
}

impl Replacement {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Initial, Self::Mean, Self::OtherText, Self::Shifted];

    /// In words, after "replaced by"; `other` names the other text or window.
    pub fn name(self, other: &'static str) -> &'static str {
        match self {
            Self::Initial => "the initial context",
            Self::Mean => "their mean",
            Self::OtherText => other,
            Self::Shifted => "the chunk before's",
        }
    }

    /// The contexts that stand for a text's own.
    ///
    /// # Shapes
    /// [B, K+1, D]; `mean` and `initial` [1, 1, D]
    fn of(self, own: Tensor<3>, other: Tensor<3>, mean: Tensor<3>, initial: Tensor<3>) -> Tensor<3> {
        let [rows, count, width] = own.dims();
        let first = own.clone().narrow(1, 0, 1);
        let predicted = match self {
            Self::Initial => initial.expand([rows, count - 1, width]),
            Self::Mean => mean.expand([rows, count - 1, width]),
            Self::OtherText => other.narrow(1, 1, count - 1),
            Self::Shifted => own.narrow(1, 0, count - 1),
        };
        Tensor::cat(vec![first, predicted], 1)
    }
}

/// Losses under a model's own contexts, and under each replacement.
pub(super) struct Losses {
    /// Of every scored token.
    pub all: Sums,
    /// Of guided tokens.
    pub own: PlaceSums,
    /// In the order of [`Replacement::ALL`].
    pub replaced: Vec<PlaceSums>,
}

impl Losses {
    pub fn new(places: usize, texts: usize) -> Self {
        let by_place = PlaceSums::new(places, texts);
        Self { all: Sums::new(texts), own: by_place.clone(), replaced: vec![by_place; Replacement::ALL.len()] }
    }

    /// Adds some windows, with the encoded windows whose contexts are another text's, and the mean of all contexts.
    pub fn add<B: Backbone>(
        &mut self,
        parts: &Parts<'_, B>,
        windows: &Windows,
        batch: &[usize],
        own: &Encoded,
        other: &Encoded,
        mean: &Tensor<3>,
    ) -> Result<(), EvalError> {
        let targets = windows.targets(batch);
        let scorer = TokenScorer::new(parts.model);
        let losses = |contexts: Tensor<3>| nll(&scorer, parts.decode(own, contexts), &targets);
        let w = parts.chunk_size;
        let found = losses(own.contexts.clone())?;
        for (&window, values) in batch.iter().zip(found.chunks(windows.length())) {
            values.iter().for_each(|&value| self.all.add(windows.text_of(window), value));
        }
        add_windows(&mut self.own, windows, batch, w, &found);
        for (kind, sums) in Replacement::ALL.into_iter().zip(&mut self.replaced) {
            let initial = parts.initial(&own.states.device());
            let contexts = kind.of(own.contexts.clone(), other.contexts.clone(), mean.clone(), initial);
            add_windows(sums, windows, batch, w, &losses(contexts)?);
        }
        Ok(())
    }
}

/// Adds values of some windows, B*T.
pub(super) fn add_windows(sums: &mut PlaceSums, windows: &Windows, batch: &[usize], chunk_size: usize, values: &[f64]) {
    for (&window, values) in batch.iter().zip(values.chunks(windows.length())) {
        sums.add(windows.text_of(window), chunk_size, values);
    }
}
