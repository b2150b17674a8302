use std::sync::Arc;

use crate::batches::not_zero;
use crate::{Batch, DataError};

/// Batches to evaluate on: windows in the order of the stream, every token but the first scored exactly once.
///
/// The last window may be short. It is there, filled up with inputs that have no target ([`crate::IGNORE_INDEX`]); the last
/// batch may have fewer rows.
#[derive(Clone, Debug)]
pub struct EvalBatches {
    tokens: Arc<[u32]>,
    length: usize,
    rows: usize,
    end_of_text: Option<u32>,
}

impl EvalBatches {
    /// Batches of up to `rows` (B) windows with `sequence_length` (T) inputs each. A stream of fewer than T+1 tokens gives
    /// one window of its own length.
    ///
    /// # Errors
    /// [`DataError::BatchShape`] if B or T is 0; [`DataError::CorpusTooShort`] if there are fewer than two tokens.
    pub fn new(tokens: impl Into<Arc<[u32]>>, sequence_length: usize, rows: usize) -> Result<Self, DataError> {
        let tokens = tokens.into();
        not_zero("sequence_length", sequence_length)?;
        not_zero("rows", rows)?;
        if tokens.len() < 2 {
            return Err(DataError::CorpusTooShort { tokens: tokens.len(), needed: 2 });
        }
        let length = sequence_length.min(tokens.len() - 1);
        let rows = rows.min((tokens.len() - 1).div_ceil(length));
        Ok(Self { tokens, length, rows, end_of_text: None })
    }

    /// The same batches with [`Batch::documents`]: where documents begin in each row.
    pub fn packed(self, end_of_text: u32) -> Self {
        Self { end_of_text: Some(end_of_text), ..self }
    }

    /// The tokens that are scored: all but the first.
    pub fn scored(&self) -> usize {
        self.tokens.len() - 1
    }

    /// The batches.
    pub fn iter(&self) -> impl Iterator<Item = Batch> + '_ {
        let windows = self.scored().div_ceil(self.length);
        (0..windows).step_by(self.rows).map(move |first| {
            let rows = self.rows.min(windows - first);
            let mut batch = Batch::empty(rows, self.length, self.end_of_text.is_some());
            for window in first..first + rows {
                let start = window * self.length;
                let end = self.tokens.len().min(start + self.length + 1);
                batch.push(&self.tokens[start..end], self.end_of_text);
            }
            batch
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IGNORE_INDEX;

    #[test]
    fn every_token_but_the_first_is_scored_once_in_order() {
        for tokens in 2..40u32 {
            for (length, rows) in [(1, 1), (3, 2), (7, 3), (7, 100), (64, 2), (usize::MAX, usize::MAX)] {
                let batches = EvalBatches::new((0..tokens).collect::<Vec<_>>(), length, rows).unwrap();
                let mut scored = Vec::new();
                let mut count = 0;
                for batch in batches.iter() {
                    assert_eq!(batch.inputs.len(), batch.rows * batch.length);
                    assert_eq!(batch.targets.len(), batch.rows * batch.length);
                    count += batch.scored();
                    for (&input, &target) in batch.inputs.iter().zip(&batch.targets) {
                        if target != IGNORE_INDEX {
                            assert_eq!(input + 1, target);
                            scored.push(target);
                        }
                    }
                }
                assert!(scored.into_iter().eq(1..i64::from(tokens)), "{tokens} tokens, {length} x {rows}");
                assert_eq!(count, batches.scored());
            }
        }
    }

    #[test]
    fn filling_is_no_document() {
        let tokens = vec![5, 0, 1, 0, 2, 3];
        let batches = EvalBatches::new(tokens, 4, 2).unwrap().packed(0);
        let batch = batches.iter().next().unwrap();
        assert_eq!(batch.inputs, [5, 0, 1, 0, 2, 0, 0, 0]);
        assert_eq!(batch.documents, Some(vec![vec![0, 1, 3], vec![0]]));
    }

    #[test]
    fn what_cannot_be_scored_is_an_error() {
        let new =
            |tokens: u32, length, rows| EvalBatches::new((0..tokens).collect::<Vec<_>>(), length, rows).map(|_| ());
        assert!(matches!(new(1, 4, 1), Err(DataError::CorpusTooShort { tokens: 1, needed: 2 })));
        assert!(matches!(new(9, 0, 1), Err(DataError::BatchShape { key: "sequence_length", .. })));
        assert!(matches!(new(9, 4, 0), Err(DataError::BatchShape { key: "rows", .. })));
    }
}
