use burn::tensor::{Device, Int, Tensor, TensorData};
use contextlm_embedding::position_rule::{context_of, first_position_of};
use contextlm_nn::{Documents, Positions};

/// The entries of the `interleave` fusion: token states, and predicted contexts between them.
///
/// `c_hat[k]` stands right before position k w - 1, the first that it guides, and has that position's id;
/// `c_hat[0]` stands before position 0. They are attended to like any entry before, and dropped after the blocks.
/// With w = 1, and where the initial context is zero by configuration, there is no initial entry.
#[derive(Debug, Clone)]
pub struct Interleave {
    rows: Vec<Vec<Entry>>,
    /// Token rows agree: one row stands for all of the batch.
    shared: bool,
    length: usize,
}

/// One entry of the decoder's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    what: What,
    /// Position id, counted from the entry's document.
    id: i64,
    /// Document within the row; filling has numbers of its own.
    document: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// The state at this position of the row.
    Token(usize),
    /// This context of the row, counted as [`ChunkGrid::spread`](contextlm_embedding::ChunkGrid::spread) does.
    Context(usize),
    /// Nothing: it makes a packed row as long as the longest.
    Filling,
}

impl Interleave {
    /// The entries for rows of one document each, or for a packed batch.
    pub fn new(length: usize, documents: Option<&Documents>, chunk_size: usize, initial: bool) -> Self {
        let initial = initial && chunk_size > 1;
        let mut rows: Vec<Vec<Entry>> = match documents {
            None => vec![entries([(0, length)], chunk_size, initial)],
            Some(all) => (0..all.rows()).map(|row| entries(all.of_row(row), chunk_size, initial)).collect(),
        };
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        for row in &mut rows {
            for filling in row.len()..longest {
                row.push(Entry { what: What::Filling, id: 0, document: -1 - filling as i64 });
            }
        }
        Self { rows, shared: documents.is_none(), length }
    }

    /// Entries of a row.
    pub fn entries(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    /// Which entries of the first row are contexts.
    pub fn contexts(&self) -> Vec<bool> {
        let first = self.rows.first().map(Vec::as_slice).unwrap_or_default();
        first.iter().map(|entry| matches!(entry.what, What::Context(_))).collect()
    }

    /// Positions of all entries: attention is causal by their order.
    pub fn positions(&self, device: &Device) -> Positions {
        let shape = [self.rows.len(), self.entries()];
        let table = |value: fn(&Entry) -> i64| {
            let values: Vec<i64> = self.rows.iter().flatten().map(value).collect();
            Tensor::<2, Int>::from_data(TensorData::new(values, shape), device)
        };
        if self.shared {
            return Positions::with_ids(table(|entry| entry.id), 0);
        }
        let documents: Vec<i64> = self.rows.iter().flatten().map(|entry| entry.document).collect();
        Positions::grouped(table(|entry| entry.id), &documents)
    }

    /// Puts the contexts between the token states.
    ///
    /// # Shapes
    /// h [B, T, D], c_hat [B, K+1, D] to [B, N, D]
    pub fn insert(&self, states: Tensor<3>, contexts: Tensor<3>) -> Tensor<3> {
        let length = self.length;
        self.pick(Tensor::cat(vec![states, contexts], 1), |row| {
            row.iter()
                .map(|entry| match entry.what {
                    What::Token(t) => t,
                    What::Context(k) => length + k,
                    What::Filling => 0,
                })
                .collect()
        })
    }

    /// Drops the contexts again.
    ///
    /// # Shapes
    /// [B, N, D] to [B, T, D]
    pub fn remove(&self, states: Tensor<3>) -> Tensor<3> {
        self.pick(states, |row| {
            let token = |(i, entry): (usize, &Entry)| matches!(entry.what, What::Token(_)).then_some(i);
            row.iter().enumerate().filter_map(token).collect()
        })
    }

    /// Entries of [B, M, D] by their index in the row.
    fn pick(&self, all: Tensor<3>, indices: impl Fn(&[Entry]) -> Vec<usize>) -> Tensor<3> {
        let device = all.device();
        let [rows, count, width] = all.dims();
        let picked: Vec<Vec<usize>> = self.rows.iter().map(|row| indices(row)).collect();
        let each = picked.first().map_or(0, Vec::len);
        let flat: Vec<i64> = picked
            .iter()
            .enumerate()
            .flat_map(|(row, picked)| picked.iter().map(move |i| (row * count + i) as i64))
            .collect();
        let index = Tensor::<1, Int>::from_data(TensorData::new(flat.clone(), [flat.len()]), &device);
        if self.shared {
            return all.select(1, index);
        }
        all.reshape([rows * count, width]).select(0, index).reshape([rows, each, width])
    }
}

/// Entries of one row with these documents, `(start, length)` each.
fn entries(documents: impl IntoIterator<Item = (usize, usize)>, chunk_size: usize, initial: bool) -> Vec<Entry> {
    let mut row = Vec::new();
    let mut chunks = 0; // of the documents before
    for (number, (start, length)) in documents.into_iter().enumerate() {
        for t in 0..length {
            let (id, document) = (t as i64, number as i64);
            let k = context_of(t, chunk_size);
            if first_position_of(k, chunk_size) == t && (k > 0 || initial) {
                let context = if k == 0 { 0 } else { chunks + k };
                row.push(Entry { what: What::Context(context), id, document });
            }
            row.push(Entry { what: What::Token(start + t), id, document });
        }
        chunks += length / chunk_size;
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(length: usize, chunk_size: usize, initial: bool) -> String {
        Interleave::new(length, None, chunk_size, initial).rows[0]
            .iter()
            .map(|entry| match entry.what {
                What::Token(t) => format!("{t}@{} ", entry.id),
                What::Context(k) => format!("c{k}@{} ", entry.id),
                What::Filling => "- ".into(),
            })
            .collect()
    }

    #[test]
    fn contexts_stand_before_the_first_position_that_they_guide() {
        assert_eq!(shape(5, 2, true), "c0@0 0@0 c1@1 1@1 2@2 c2@3 3@3 4@4 ");
        assert_eq!(shape(3, 1, true), "c1@0 0@0 c2@1 1@1 c3@2 2@2 ");
        assert_eq!(shape(3, 4, false), "0@0 1@1 2@2 ");
    }

    #[test]
    fn there_are_t_plus_k_plus_1_entries() {
        for (length, w) in [(1, 4), (4, 4), (12, 4), (7, 3), (9, 2)] {
            assert_eq!(Interleave::new(length, None, w, true).entries(), length + length / w + 1);
            assert_eq!(Interleave::new(length, None, w, false).entries(), length + length / w);
        }
        assert_eq!(Interleave::new(6, None, 1, true).entries(), 12);
    }
}
