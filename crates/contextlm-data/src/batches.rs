use crate::shuffle::Shuffle;
use crate::{Batch, DataError, Tokens};

/// Batches to train on, in an order that seed and position alone decide: there is no other state to save.
///
/// The stream is cut into windows of T+1 tokens that begin every T tokens, so that every token but the first is a target
/// in exactly one window; the end that fills no window is left out. Every window comes once in an epoch, each epoch in an
/// order of its own. A batch may begin in one epoch and end in the next.
#[derive(Clone, Debug)]
pub struct Batches {
    tokens: Tokens,
    length: usize,
    rows: usize,
    seed: u64,
    end_of_text: Option<u32>,
    /// This process and the number of all that share the windows.
    rank: u64,
    world: u64,
}

impl Batches {
    /// Batches of `rows` (B) windows with `sequence_length` (T) inputs each.
    ///
    /// # Errors
    /// [`DataError::BatchShape`] if B or T is 0 or an epoch has fewer than B windows; [`DataError::CorpusTooShort`] if the
    /// tokens fill no window.
    pub fn new(tokens: impl Into<Tokens>, sequence_length: usize, rows: usize, seed: u64) -> Result<Self, DataError> {
        let tokens = tokens.into();
        not_zero("sequence_length", sequence_length)?;
        not_zero("rows", rows)?;
        let windows = tokens.len().saturating_sub(1) / sequence_length;
        if windows == 0 {
            let needed = sequence_length.saturating_add(1);
            return Err(DataError::CorpusTooShort { tokens: tokens.len(), needed });
        }
        if rows > windows {
            let fix =
                format!("the corpus has {windows} windows of {sequence_length} tokens; use at most that many rows");
            return Err(DataError::BatchShape { key: "rows", value: rows, fix });
        }
        Ok(Self { tokens, length: sequence_length, rows, seed, end_of_text: None, rank: 0, world: 1 })
    }

    /// The same batches with [`Batch::documents`]: where documents begin in each row.
    pub fn packed(self, end_of_text: u32) -> Self {
        Self { end_of_text: Some(end_of_text), ..self }
    }

    /// The part of the batches that process `rank` of `world` takes: the rows of all processes at a position follow one
    /// another, so that every window comes once in an epoch, whatever their number.
    ///
    /// # Errors
    /// [`DataError::BatchShape`] if the rank is not below `world`, or all rows together are more than the windows.
    pub fn sharded(self, rank: usize, world: usize) -> Result<Self, DataError> {
        if rank >= world {
            let fix = format!("use a rank below the number of processes, {world}");
            return Err(DataError::BatchShape { key: "rank", value: rank, fix });
        }
        if self.rows.checked_mul(world).is_none_or(|rows| rows > self.windows()) {
            let fix = format!("{world} processes with {} rows need more than {} windows", self.rows, self.windows());
            return Err(DataError::BatchShape { key: "world", value: world, fix });
        }
        Ok(Self { rank: rank as u64, world: world as u64, ..self })
    }

    /// The windows of an epoch.
    pub fn windows(&self) -> usize {
        (self.tokens.len() - 1) / self.length
    }

    /// The targets in the batches before `position`, of all processes.
    pub fn tokens_before(&self, position: u64) -> u128 {
        u128::from(position) * u128::from(self.world) * (self.rows as u128) * (self.length as u128)
    }

    /// The batch at a position; there is one at each.
    ///
    /// # Errors
    /// [`DataError::Io`] if a shard cannot be read; never of tokens in memory.
    pub fn batch(&self, position: u64) -> Result<Batch, DataError> {
        let windows = self.windows() as u128;
        let first = (u128::from(position) * u128::from(self.world) + u128::from(self.rank)) * self.rows as u128;
        // Epochs beyond 2^64 repeat those before.
        let shuffle_of = |epoch: u128| Shuffle::new(windows as u64, self.seed, epoch as u64);
        let mut epoch = first / windows;
        let mut shuffle = shuffle_of(epoch);
        let mut batch = Batch::empty(self.rows, self.length, self.end_of_text.is_some());
        for row in first..first + self.rows as u128 {
            if row / windows != epoch {
                epoch = row / windows;
                shuffle = shuffle_of(epoch);
            }
            let start = shuffle.get((row % windows) as u64) as usize * self.length;
            batch.push(&self.tokens.window(start, self.length + 1)?, self.end_of_text);
        }
        Ok(batch)
    }

    /// The batches from a position on, without end.
    pub fn iter_from(&self, position: u64) -> impl Iterator<Item = Result<Batch, DataError>> + '_ {
        (position..=u64::MAX).map(|position| self.batch(position))
    }
}

/// [`DataError::BatchShape`] if the value is 0.
pub(crate) fn not_zero(key: &'static str, value: usize) -> Result<(), DataError> {
    match value {
        0 => Err(DataError::BatchShape { key, value, fix: "use at least 1".into() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(tokens: u32) -> Vec<u32> {
        (0..tokens).collect()
    }

    /// The first input of each row, over the whole windows of one epoch.
    fn starts(batches: &Batches, rows: usize) -> Vec<i64> {
        let starts = |batch: Batch| batch.inputs.iter().copied().step_by(batch.length).collect::<Vec<_>>();
        batches.iter_from(0).map(Result::unwrap).flat_map(starts).take(rows).collect()
    }

    #[test]
    fn every_window_once_an_epoch_whatever_the_rows() {
        // 103 tokens: 14 windows of 7 inputs, four tokens left over.
        for rows in 1..=14 {
            let batches = Batches::new(stream(103), 7, rows, 5).unwrap();
            assert_eq!(batches.windows(), 14);
            let found = starts(&batches, 3 * 14);
            for epoch in found.chunks(14) {
                let mut epoch = epoch.to_vec();
                epoch.sort_unstable();
                assert!(epoch.into_iter().eq((0..14).map(|window| window * 7)), "{rows} rows");
            }
            assert_ne!(found[..14], found[14..28]);
            // The order is that of the windows, however many rows there are.
            assert_eq!(found, starts(&Batches::new(stream(103), 7, 1, 5).unwrap(), 3 * 14));
        }
        let other_seed = Batches::new(stream(103), 7, 1, 6).unwrap();
        assert_ne!(starts(&other_seed, 14), starts(&Batches::new(stream(103), 7, 1, 5).unwrap(), 14));
    }

    #[test]
    fn a_batch_is_given_by_its_position() {
        let batches = Batches::new(stream(1000), 9, 4, 1).unwrap();
        let later: Vec<_> = batches.iter_from(20).take(30).map(Result::unwrap).collect();
        assert!(later.into_iter().eq(batches.iter_from(0).skip(20).take(30).map(Result::unwrap)));
        assert_eq!(batches.tokens_before(20), 20 * 4 * 9);
        let batch = batches.batch(3).unwrap();
        assert_eq!((batch.rows, batch.length, batch.documents.is_some()), (4, 9, false));
        assert!(batch.inputs.iter().zip(&batch.targets).all(|(input, target)| input + 1 == *target));
    }

    #[test]
    fn processes_share_the_windows_of_an_epoch() {
        for (rows, world) in [(1, 1), (1, 3), (2, 2), (3, 4), (7, 2), (1, 14)] {
            let batches = Batches::new(stream(103), 7, rows, 5).unwrap();
            let of_rank: Vec<_> = (0..world).map(|rank| batches.clone().sharded(rank, world).unwrap()).collect();
            // As if one process had all the rows.
            let together = Batches::new(stream(103), 7, rows * world, 5).unwrap();
            for position in 0..30 {
                let inputs: Vec<i64> = of_rank.iter().flat_map(|part| part.batch(position).unwrap().inputs).collect();
                assert_eq!(inputs, together.batch(position).unwrap().inputs, "{rows} rows, {world} processes");
                assert_eq!(of_rank[0].tokens_before(position), together.tokens_before(position));
            }
        }
        let batches = Batches::new(stream(103), 7, 5, 5).unwrap();
        assert!(matches!(batches.clone().sharded(2, 2), Err(DataError::BatchShape { key: "rank", .. })));
        assert!(matches!(batches.sharded(0, 3), Err(DataError::BatchShape { key: "world", .. })));
    }

    proptest::proptest! {
        /// All processes together see every window exactly once an epoch, for any number of them.
        #[test]
        fn every_window_once_an_epoch_for_any_rank_count(
            tokens in 2u32..400, length in 1usize..9, rows in 1usize..5, world in 1usize..9, seed: u64, epochs in 1usize..4,
        ) {
            let Ok(batches) = Batches::new(stream(tokens), length, rows, seed) else { return Ok(()) };
            let Ok(parts) = (0..world).map(|rank| batches.clone().sharded(rank, world)).collect::<Result<Vec<_>, _>>()
            else {
                return Ok(());
            };
            let windows = batches.windows();
            let mut found = Vec::new();
            for position in 0.. {
                for part in &parts {
                    found.extend(part.batch(position).unwrap().inputs.into_iter().step_by(length));
                }
                if found.len() >= epochs * windows {
                    break;
                }
            }
            for epoch in found.chunks_exact(windows) {
                let mut epoch = epoch.to_vec();
                epoch.sort_unstable();
                let expected = (0..windows).map(|window| (window * length) as i64);
                proptest::prop_assert!(epoch.into_iter().eq(expected));
            }
        }
    }

    #[test]
    fn batches_may_be_read_ahead() {
        let batches = Batches::new(stream(103), 7, 3, 5).unwrap();
        let ahead = crate::Prefetch::new(batches.clone(), 4, 2).take(20).map(Result::unwrap);
        assert!(ahead.eq(batches.iter_from(4).take(20).map(Result::unwrap)));
    }

    #[test]
    fn documents_begin_at_each_end_of_text() {
        let tokens: Vec<u32> = [0, 1, 2, 0, 3, 0, 0, 4].repeat(9);
        let batches = Batches::new(tokens, 5, 3, 1).unwrap().packed(0);
        for batch in batches.iter_from(0).take(20).map(Result::unwrap) {
            let documents = batch.documents.unwrap();
            assert_eq!(documents.len(), 3);
            for (row, starts) in batch.inputs.chunks(5).zip(documents) {
                let expected: Vec<_> = (0..5).filter(|&at| at == 0 || row[at] == 0).collect();
                assert_eq!(starts, expected);
            }
        }
    }

    #[test]
    fn shapes_that_cannot_be_had_are_errors() {
        let new = |tokens, length, rows| Batches::new(stream(tokens), length, rows, 0).map(|_| ());
        assert!(new(8, 7, 1).is_ok());
        for (tokens, needed, length) in [(7, 8, 7), (0, 2, 1), (1, 2, 1), (5, usize::MAX, usize::MAX)] {
            let error = new(tokens, length, 1).unwrap_err();
            assert!(matches!(error, DataError::CorpusTooShort { needed: n, .. } if n == needed), "{error}");
        }
        assert!(matches!(new(8, 0, 1), Err(DataError::BatchShape { key: "sequence_length", .. })));
        for rows in [0, 3, usize::MAX] {
            assert!(matches!(new(15, 7, rows), Err(DataError::BatchShape { key: "rows", .. })), "{rows}");
        }
    }

    #[test]
    fn the_last_positions_work() {
        let batches = Batches::new(stream(15), 7, 2, 0).unwrap();
        assert_eq!(batches.iter_from(u64::MAX).count(), 1);
    }
}
