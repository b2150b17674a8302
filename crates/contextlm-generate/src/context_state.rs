use burn::tensor::{Device, Tensor};
use contextlm_core::position_rule::context_of;
use contextlm_core::{ContextPath, DecodingCache, KvCache, Positions};

use crate::pick::pick;

/// What decoding remembers between the encoder and the decoder: the open chunk, the caches of the predictor, and the
/// context that guides the next token.
///
/// Of the open chunk its states are kept, at most w - 1 a row, so that a chunk is pooled by the code of the full
/// forward pass, whatever the pooling is.
#[derive(Debug, Clone)]
pub(crate) struct ContextState {
    /// One a predictor block.
    predictor: Vec<KvCache>,
    /// Encoder states of the open chunk, [B, m, D] with m the largest number of open tokens; `None` if m is 0.
    open: Option<Tensor<3>>,
    /// The newest context of every row as the fusion adds it, [B, 1, D].
    current: Tensor<3>,
}

/// The contexts of a piece of tokens.
pub(crate) struct PieceContexts {
    /// As the fusion adds them: the one that was the newest before the piece, then one for every chunk that the piece
    /// completed, [B, 1 + M, D].
    pub contexts: Tensor<3>,
    /// For every row and token of the piece the number of its context in `contexts`.
    pub of_tokens: Vec<Vec<usize>>,
}

impl ContextState {
    /// The state before the first token.
    pub fn new(path: &ContextPath, rows: usize, tokens: usize, device: &Device) -> Self {
        let chunks = (tokens / path.embedding.chunk_size()).max(1);
        let predictor: Vec<KvCache> =
            path.predictor.as_ref().map(|predictor| predictor.new_caches(rows, chunks, device)).unwrap_or_default();
        let current = path.decoder.fusion.of_all_contexts(path.embedding.initial(rows, device));
        Self { predictor, open: None, current }
    }

    /// Takes the encoder's states of a piece, closes the chunks that it completes, and predicts from each of them.
    /// Row r had `past[r]` tokens before and gets `counts[r]`, the first ones of its row of `states`.
    ///
    /// # Shapes
    /// h [B, T, D]
    pub fn advance(
        &mut self,
        path: &ContextPath,
        states: Tensor<3>,
        past: &[usize],
        counts: &[usize],
    ) -> PieceContexts {
        let w = path.embedding.chunk_size();
        let each = || past.iter().copied().zip(counts.iter().copied());
        let (Some(predictor), Some(pool)) = (&path.predictor, &path.embedding.pool) else {
            let of_tokens = counts.iter().map(|&count| vec![0; count]).collect();
            return PieceContexts { contexts: self.current.clone(), of_tokens };
        };

        let device = states.device();
        let [rows, _, width] = states.dims();
        let held = self.open.as_ref().map_or(0, |open| open.dims()[1]);
        let states = match self.open.take() {
            Some(open) => Tensor::cat(vec![open, states], 1),
            None => states,
        };
        // Where the state of a row's token at this position lies in `states`.
        let place = |past: usize, at: usize| if at < past { at % w } else { held + at - past };
        let chunks = |(past, count): (usize, usize)| past / w..(past + count) / w;

        let completed = each().map(chunks).map(|chunks| chunks.len()).max().unwrap_or(0);
        let mut contexts = self.current.clone();
        if completed > 0 {
            let members: Vec<Vec<usize>> = each()
                .map(|row| chunks(row).flat_map(|k| k * w..(k + 1) * w).map(|at| place(row.0, at)).collect())
                .collect();
            let members = pick(states.clone(), &members).reshape([rows, completed, w, width]);
            let ids: Vec<Vec<i64>> = each().map(|row| chunks(row).map(|k| (k * w) as i64).collect()).collect();
            let before: Vec<usize> = past.iter().map(|past| past / w).collect();
            let at = Positions::continued_rows(&before, &ids, &device);
            let predicted = predictor.forward_cached(pool.forward(members), &at, Some(&mut self.predictor));
            contexts = Tensor::cat(vec![contexts, path.decoder.fusion.of_contexts(predicted)], 1);
            let newest: Vec<Vec<usize>> = each().map(|row| vec![chunks(row).len()]).collect();
            self.current = pick(contexts.clone(), &newest);
        }

        let still_open: Vec<Vec<usize>> = each()
            .map(|(past, count)| ((past + count) / w * w..past + count).map(|at| place(past, at)).collect())
            .collect();
        self.open = still_open.iter().any(|row| !row.is_empty()).then(|| pick(states, &still_open));

        let of_tokens =
            each().map(|(past, count)| (past..past + count).map(|at| context_of(at, w) - past / w).collect()).collect();
        PieceContexts { contexts, of_tokens }
    }

    /// The same state with other rows and room for `tokens` tokens.
    pub fn arranged(&self, path: &ContextPath, rows: &[usize], tokens: usize) -> Self {
        let chunks = (tokens / path.embedding.chunk_size()).max(1);
        let kept = |all: &Tensor<3>| Tensor::cat(rows.iter().map(|&row| all.clone().narrow(0, row, 1)).collect(), 0);
        Self {
            predictor: self.predictor.iter().map(|cache| cache.arranged(rows, chunks)).collect(),
            open: self.open.as_ref().map(kept),
            current: kept(&self.current),
        }
    }
}
