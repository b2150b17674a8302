use burn::tensor::{Device, Tensor};
use contextlm_core::{Backbone, ContextLm};

use crate::caches::Caches;
use crate::pick::pick;
use crate::{Beyond, GenerateError, token_table};

/// What a model remembers of the tokens that it has seen: one sequence, or several side by side.
///
/// Tokens are fed in pieces of any length: a prompt at once or cut anywhere, then token by token. Nothing is
/// recomputed: a new token runs once through the encoder, completes a chunk or not, and runs once through the decoder
/// with the newest context, while earlier positions keep the context that they were fused with (Algorithm 1). The
/// logits are those of [`ContextLm::forward`] on all tokens, up to rounding.
///
/// Sequences of a batch may have different lengths, reach chunk borders at different tokens, and get pieces of
/// different lengths; each is as if it were alone.
///
/// A copy ([`Clone`]) is a snapshot: feed a common prefix once, and go on from copies. Copies share memory until one
/// of them is fed.
///
/// A backbone without caches ([`Backbone::new_caches`] gives `None`) runs all tokens again for every piece, see
/// [`recomputes`](Self::recomputes).
#[derive(Debug, Clone)]
pub struct DecoderState<'m, B: Backbone> {
    model: &'m ContextLm<B>,
    device: Device,
    beyond: Beyond,
    /// Largest number of tokens that a sequence may have.
    positions: usize,
    vocabulary: usize,
    /// Tokens of every sequence, without those that were slid out.
    tokens: Vec<Vec<u32>>,
    /// Tokens that fit the caches.
    capacity: usize,
    caches: Option<Caches<B::Cache>>,
    /// Logits after the last token of every sequence, [B, V].
    logits: Option<Tensor<2>>,
}

impl<'m, B: Backbone> DecoderState<'m, B> {
    /// The state of `rows` sequences before their first token, with memory for `capacity` tokens each. More can be fed:
    /// the memory then doubles. `device` is the model's.
    ///
    /// # Errors
    /// [`GenerateError::Setting`] for 0 rows, for an unfitting `keep` of [`Beyond::Slide`], and for
    /// [`Beyond::Continue`] on a backbone without rotary positions.
    pub fn new(
        model: &'m ContextLm<B>,
        rows: usize,
        capacity: usize,
        beyond: Beyond,
        device: &Device,
    ) -> Result<Self, GenerateError> {
        let spec = model.backbone.spec();
        if rows == 0 {
            return Err(GenerateError::setting("rows", 0, "must be at least 1"));
        }
        let mut positions = spec.max_positions;
        match beyond {
            Beyond::Stop => {}
            Beyond::Slide { keep } if (1..positions).contains(&keep) => {}
            Beyond::Slide { keep } => {
                let fix = format!("must be from 1 to {}, below the model's positions", positions.saturating_sub(1));
                return Err(GenerateError::setting("keep", keep, fix));
            }
            Beyond::Continue if spec.predictor_block.rotary.is_some() => positions = usize::MAX,
            Beyond::Continue => {
                let fix = format!("only rotary positions can go on; here there are {positions}: stop or slide");
                return Err(GenerateError::setting("beyond", "continue", fix));
            }
        }
        let capacity = capacity.clamp(1, positions.max(1));
        Ok(Self {
            model,
            device: device.clone(),
            beyond,
            positions,
            vocabulary: spec.vocabulary,
            tokens: vec![Vec::new(); rows],
            capacity,
            caches: Caches::new(model, rows, capacity, device),
            logits: None,
        })
    }

    /// Feeds every sequence its piece, which may be empty, and gives the logits after the last token of each. Those of
    /// a sequence that has no token yet mean nothing.
    ///
    /// # Shapes
    /// to [B, V]
    ///
    /// # Errors
    /// [`GenerateError::Rows`], [`GenerateError::Token`], [`GenerateError::Window`]; and
    /// [`GenerateError::EmptyPrompt`] if no sequence has any token, or one of no new tokens has no logits since
    /// [`feed_states`](Self::feed_states). The state is then as before.
    pub fn feed(&mut self, pieces: &[&[u32]]) -> Result<Tensor<2>, GenerateError> {
        self.check(pieces)?;
        self.check_known(pieces)?;
        if pieces.iter().all(|piece| piece.is_empty()) {
            return self.logits.clone().ok_or(GenerateError::EmptyPrompt { row: 0 });
        }
        let slides = self.too_long(pieces);
        let all: Vec<Vec<u32>>; // what is fed instead where a sequence slides: the windows that are left
        let mut last: Vec<Vec<usize>> = pieces.iter().map(|piece| vec![piece.len().saturating_sub(1)]).collect();
        let states = match (slides, self.beyond) {
            (Some(_), Beyond::Slide { keep }) => {
                all = self.tokens.iter().zip(pieces).map(|(old, new)| window(old, new, self.positions, keep)).collect();
                self.forget();
                let windows: Vec<&[u32]> = all.iter().map(Vec::as_slice).collect();
                last = windows.iter().map(|window| vec![window.len().saturating_sub(1)]).collect();
                self.run(&windows)
            }
            (Some(error), _) => return Err(error),
            (None, _) => self.run(pieces),
        };
        let mut logits = self.model.logits(pick(states, &last)); // [B, 1, V]
        if let Some(before) = self.logits.take() {
            let newest: Vec<Vec<usize>> = pieces.iter().map(|piece| vec![usize::from(!piece.is_empty())]).collect();
            if newest.iter().any(|row| row[0] == 0) {
                logits = pick(Tensor::cat(vec![before.unsqueeze_dim(1), logits], 1), &newest);
            }
        }
        let logits: Tensor<2> = logits.squeeze_dim(1);
        self.logits = Some(logits.clone());
        Ok(logits)
    }

    /// As [`feed`](Self::feed), with the logits after every token of the pieces; those behind a piece that is shorter
    /// than the longest mean nothing.
    ///
    /// # Shapes
    /// to [B, T, V]
    ///
    /// # Errors
    /// As [`feed`](Self::feed); [`GenerateError::Window`] also where the sequence would slide, and
    /// [`GenerateError::EmptyPrompt`] if all pieces are empty.
    pub fn feed_all(&mut self, pieces: &[&[u32]]) -> Result<Tensor<3>, GenerateError> {
        self.check(pieces)?;
        self.check_known(pieces)?;
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Err(GenerateError::EmptyPrompt { row: 0 });
        }
        if let Some(error) = self.too_long(pieces) {
            return Err(error);
        }
        let states = self.run(pieces);
        let logits = self.model.logits(states);
        let last: Vec<Vec<usize>> = pieces.iter().map(|piece| vec![piece.len()]).collect();
        let [rows, _, vocabulary] = logits.dims();
        let before = self.logits.take().unwrap_or_else(|| Tensor::zeros([rows, vocabulary], &self.device));
        let every = Tensor::cat(vec![before.unsqueeze_dim(1), logits.clone()], 1);
        self.logits = Some(pick(every, &last).squeeze_dim(1));
        Ok(logits)
    }

    /// As [`feed_all`](Self::feed_all), with the normed states that the head makes logits of; for who needs the logits of
    /// few positions, or not all at a time. [`logits`](Self::logits) is then `None`, and the next [`feed`](Self::feed)
    /// or `feed_all` needs a token for every sequence that has some.
    ///
    /// # Shapes
    /// to [B, T, D]
    ///
    /// # Errors
    /// As [`feed_all`](Self::feed_all), but for sequences whose logits are not known.
    pub fn feed_states(&mut self, pieces: &[&[u32]]) -> Result<Tensor<3>, GenerateError> {
        self.check(pieces)?;
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Err(GenerateError::EmptyPrompt { row: 0 });
        }
        if let Some(error) = self.too_long(pieces) {
            return Err(error);
        }
        self.logits = None;
        Ok(self.run(pieces))
    }

    /// The same state with other sequences: number i of the result is number `rows[i]` of this one. So one prompt
    /// becomes several samples, and sequences that have ended are dropped.
    ///
    /// # Errors
    /// [`GenerateError::Setting`] if `rows` is empty or names a sequence that is not there.
    pub fn with_rows(&self, rows: &[usize]) -> Result<Self, GenerateError> {
        if rows.is_empty() {
            return Err(GenerateError::setting("rows", "[]", "name at least one"));
        }
        if let Some(row) = rows.iter().find(|&&row| row >= self.tokens.len()) {
            let fix = format!("there are {} sequences, from 0 on", self.tokens.len());
            return Err(GenerateError::setting("rows", row, fix));
        }
        let kept = |all: &Tensor<2>| Tensor::cat(rows.iter().map(|&row| all.clone().narrow(0, row, 1)).collect(), 0);
        Ok(Self {
            model: self.model,
            device: self.device.clone(),
            beyond: self.beyond,
            positions: self.positions,
            vocabulary: self.vocabulary,
            tokens: rows.iter().map(|&row| self.tokens[row].clone()).collect(),
            capacity: self.capacity,
            caches: self.caches.as_ref().map(|caches| caches.arranged(self.model, rows, self.capacity)),
            logits: self.logits.as_ref().map(kept),
        })
    }

    /// What happens at the end of the backbone's positions.
    pub fn beyond(&self) -> Beyond {
        self.beyond
    }

    /// Sequences, B.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Tokens of a sequence, without those that were slid out.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn tokens(&self, row: usize) -> &[u32] {
        &self.tokens[row]
    }

    /// Tokens a sequence for which memory is reserved.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Logits after the last token of every sequence, [B, V], as [`feed`](Self::feed) gave them.
    pub fn logits(&self) -> Option<Tensor<2>> {
        self.logits.clone()
    }

    /// Whether the backbone has no caches, so that all tokens run again for every piece.
    pub fn recomputes(&self) -> bool {
        self.caches.is_none()
    }

    /// Tokens that the model knows, V.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Whether a sequence has as many tokens as there are positions.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn is_full(&self, row: usize) -> bool {
        self.tokens[row].len() >= self.positions
    }

    fn check(&self, pieces: &[&[u32]]) -> Result<(), GenerateError> {
        let (expected, found) = (self.tokens.len(), pieces.len());
        if expected != found {
            return Err(GenerateError::Rows { expected, found });
        }
        let vocabulary = self.vocabulary;
        for (row, piece) in pieces.iter().enumerate() {
            if let Some(&token) = piece.iter().find(|&&token| token as usize >= vocabulary) {
                return Err(GenerateError::Token { row, token, vocabulary });
            }
        }
        Ok(())
    }

    /// Whether there are logits after the last token of every sequence that gets no new one.
    fn check_known(&self, pieces: &[&[u32]]) -> Result<(), GenerateError> {
        let unknown = |row: usize| self.logits.is_none() && pieces[row].is_empty() && !self.tokens[row].is_empty();
        match (0..pieces.len()).find(|&row| unknown(row)) {
            Some(row) => Err(GenerateError::EmptyPrompt { row }),
            None => Ok(()),
        }
    }

    /// The error of the first sequence that would be longer than there are positions.
    fn too_long(&self, pieces: &[&[u32]]) -> Option<GenerateError> {
        let lengths = self.tokens.iter().zip(pieces).map(|(old, new)| old.len() + new.len());
        let (row, length) = lengths.enumerate().find(|&(_, length)| length > self.positions)?;
        Some(GenerateError::Window { row, length, positions: self.positions })
    }

    /// Back to before the first token.
    fn forget(&mut self) {
        self.caches = Caches::new(self.model, self.tokens.len(), self.capacity, &self.device);
        self.tokens.iter_mut().for_each(Vec::clear);
    }

    /// Normed states of the new tokens, [B, T, D].
    fn run(&mut self, pieces: &[&[u32]]) -> Tensor<3> {
        let past: Vec<usize> = self.tokens.iter().map(Vec::len).collect();
        for (tokens, piece) in self.tokens.iter_mut().zip(pieces) {
            tokens.extend_from_slice(piece);
        }
        let needed = self.tokens.iter().map(Vec::len).max().unwrap_or(0);
        let rows: Vec<usize> = (0..self.tokens.len()).collect();
        if needed > self.capacity {
            self.capacity = needed.max(2 * self.capacity).min(self.positions);
            self.caches = self.caches.take().map(|caches| caches.arranged(self.model, &rows, self.capacity));
        }
        if let Some(caches) = &mut self.caches {
            let states = caches.run(self.model, pieces, &past, &self.device);
            return self.model.backbone.norm(states);
        }
        // Rows are filled up behind their tokens, and what comes later changes nothing before.
        let whole: Vec<&[u32]> = self.tokens.iter().map(Vec::as_slice).collect();
        let states = self.model.hidden_states(token_table(&whole, &self.device));
        let new: Vec<Vec<usize>> =
            past.iter().zip(pieces).map(|(past, piece)| (*past..past + piece.len()).collect()).collect();
        pick(states, &new)
    }
}

/// What is left of a sequence after it has slid as often as its new tokens need: whenever a window is full, its last
/// `keep` tokens stay.
fn window(old: &[u32], new: &[u32], positions: usize, keep: usize) -> Vec<u32> {
    let length = old.len() + new.len();
    let over = length.saturating_sub(positions);
    let dropped = over.div_ceil(positions - keep) * (positions - keep);
    old.iter().chain(new).skip(dropped).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_window_keeps_its_last_tokens() {
        let slid = |old: &[u32], new: &[u32]| window(old, new, 4, 3);
        assert_eq!(slid(&[1, 2, 3], &[4]), [1, 2, 3, 4]);
        assert_eq!(slid(&[1, 2, 3, 4], &[5]), [2, 3, 4, 5]);
        assert_eq!(window(&[1, 2, 3, 4], &[5], 4, 1), [4, 5]);
        assert_eq!(window(&[], &[1, 2, 3, 4, 5, 6, 7, 8], 4, 1), [7, 8]);
        assert_eq!(window(&[], &[1, 2, 3, 4, 5, 6, 7], 4, 1), [4, 5, 6, 7]);
    }
}
