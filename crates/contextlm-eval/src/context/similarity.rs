use burn::tensor::Tensor;
use serde::Serialize;

use super::parts::Encoded;
use crate::nll::floats;
use crate::{Estimate, EvalError, Windows, estimate::Sums};

/// Cosines between predicted contexts and the embeddings of chunks.
///
/// The predictor is trained by the tokens' loss, not to hit the embedding, unless a latent loss was on: a low cosine does not
/// mean that it knows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cosines {
    /// With the chunk that was predicted.
    pub actual: Estimate,
    /// With a chunk of another text at the same place, of a stream of a distant window: the baseline.
    pub other_text: Estimate,
    /// With the chunk before, which the predictor has seen: what merely repeating it would give.
    pub chunk_before: Estimate,
    /// `actual` less `other_text`, paired.
    pub difference: Estimate,
}

/// Cosines as they are, and of what is left of both sides without their means.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Similarity {
    /// As they are: a direction that all vectors share makes them large for any pair.
    pub raw: Cosines,
    /// Without the mean of all predicted contexts, and the mean of all chunk embeddings.
    pub centred: Cosines,
}

#[derive(Clone)]
pub(super) struct SimilaritySums {
    raw: [Sums; 3],
    centred: [Sums; 3],
}

impl SimilaritySums {
    pub fn new(texts: usize) -> Self {
        let sums = || std::array::from_fn(|_| Sums::new(texts));
        Self { raw: sums(), centred: sums() }
    }

    /// Adds some windows of at least two chunks, beside their partners. Means are [1, 1, D].
    pub fn add(
        &mut self,
        windows: &Windows,
        batch: &[usize],
        own: &Encoded,
        other: &Encoded,
        mean_context: &Tensor<3>,
        mean_chunk: &Tensor<3>,
    ) -> Result<(), EvalError> {
        let [_, count, _] = own.chunks.dims();
        let pairs = count - 1; // chunks 1..K have a prediction
        let predicted = own.contexts.clone().narrow(1, 1, pairs);
        let compared = [
            own.chunks.clone().narrow(1, 1, pairs),
            other.chunks.clone().narrow(1, 1, pairs),
            own.chunks.clone().narrow(1, 0, pairs),
        ];
        for (i, chunks) in compared.into_iter().enumerate() {
            let centred = cosine(predicted.clone() - mean_context.clone(), chunks.clone() - mean_chunk.clone());
            for (sums, cosines) in
                [(&mut self.raw[i], cosine(predicted.clone(), chunks)), (&mut self.centred[i], centred)]
            {
                let values = floats(cosines)?;
                for (&window, values) in batch.iter().zip(values.chunks(pairs)) {
                    values.iter().for_each(|&value| sums.add(windows.text_of(window), value));
                }
            }
        }
        Ok(())
    }

    pub fn estimate(&self) -> Option<Similarity> {
        Some(Similarity { raw: cosines(&self.raw)?, centred: cosines(&self.centred)? })
    }
}

fn cosines([actual, other, before]: &[Sums; 3]) -> Option<Cosines> {
    Some(Cosines {
        actual: actual.estimate()?,
        other_text: other.estimate()?,
        chunk_before: before.estimate()?,
        difference: actual.minus(other).estimate()?,
    })
}

/// Cosines of the rows, [B, N, D] to [B, N]; lengths are at least 1e-8 as in PyTorch.
fn cosine(a: Tensor<3>, b: Tensor<3>) -> Tensor<2> {
    let length = |x: Tensor<3>| x.square().sum_dim(2).clamp_min(1e-16).sqrt();
    let product = (a.clone() * b.clone()).sum_dim(2);
    (product / (length(a) * length(b))).squeeze_dim(2)
}
