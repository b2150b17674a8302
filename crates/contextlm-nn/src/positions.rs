use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use contextlm_kernels::KeyRanges;

use crate::Documents;

/// What a block needs to know of its entries beside their states: position ids and who may attend to whom.
///
/// Attention is causal by the order of entries, never by position id, and stays within a document.
#[derive(Debug, Clone)]
pub struct Positions {
    ids: Tensor<2, Int>,
    ranges: KeyRanges,
    documents: Option<Documents>,
    counts: Option<Vec<usize>>,
}

impl Positions {
    /// Entries 0, 1, 2, ... of one document a row, the same in every row.
    pub fn causal(length: usize, device: &Device) -> Self {
        Self::continued(0, length, device)
    }

    /// `length` entries that follow `past` cached ones; position ids go on from `past`.
    pub fn continued(past: usize, length: usize, device: &Device) -> Self {
        let ids = Tensor::<1, Int>::arange(past as i64..(past + length) as i64, device).unsqueeze::<2>();
        Self::with_ids(ids, past)
    }

    /// Entries with position ids of their own, after `past` cached entries.
    ///
    /// # Shapes
    /// `ids`: [B, T], or [1, T] where all rows agree
    pub fn with_ids(ids: Tensor<2, Int>, past: usize) -> Self {
        let [_, length] = ids.dims();
        Self { ids, ranges: KeyRanges::causal(past, length), documents: None, counts: None }
    }

    /// Entries that follow cached ones, of rows that may differ: row r has `past[r]` entries already and gets one for
    /// every id in `ids[r]`. Shorter rows are filled up with entries that caches leave out and that nothing of use
    /// attends to; see [`counts`](Self::counts).
    pub fn continued_rows(past: &[usize], ids: &[Vec<i64>], device: &Device) -> Self {
        let rows = past.len().min(ids.len());
        let counts: Vec<usize> = ids.iter().map(Vec::len).collect();
        let length = counts.iter().copied().max().unwrap_or(0);
        if past.windows(2).all(|pair| pair[0] == pair[1]) && ids.windows(2).all(|pair| pair[0] == pair[1]) {
            let ids = ids.first().cloned().unwrap_or_default();
            let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, length]), device);
            return Self::with_ids(ids, past.first().copied().unwrap_or(0));
        }
        let table = |value: &dyn Fn(usize, usize) -> i64| {
            let values: Vec<i64> = (0..rows).flat_map(|row| (0..length).map(move |t| value(row, t))).collect();
            Tensor::<2, Int>::from_data(TensorData::new(values, [rows, length]), device)
        };
        let total = past.iter().zip(&counts).map(|(past, count)| past + count).max().unwrap_or(0);
        // Entry s of a row is attended to by those at its own place and after it.
        let of_row = |row: usize| (0..length).map(|t| 0..total.min(past[row] + t + 1)).collect();
        Self {
            ids: table(&|row, t| ids[row].get(t).copied().unwrap_or(0)),
            ranges: KeyRanges::new((0..rows).map(of_row).collect(), total),
            documents: None,
            counts: Some(counts),
        }
    }

    /// Several documents a row: ids restart at each, and attention stays within it.
    pub fn packed(documents: Documents, device: &Device) -> Self {
        let (rows, length) = (documents.rows(), documents.length());
        let mut ids = Vec::with_capacity(rows * length);
        let mut numbers = Vec::with_capacity(rows * length);
        for row in 0..rows {
            for (number, (_, length)) in documents.of_row(row).enumerate() {
                ids.extend(0..length as i64);
                numbers.extend(std::iter::repeat_n(number as i64, length));
            }
        }
        let ids = Tensor::from_data(TensorData::new(ids, [rows, length]), device);
        Self { documents: Some(documents), ..Self::grouped(ids, &numbers) }
    }

    /// Entries with position ids of their own, and a document number for each of them, row after row: a document begins
    /// where the number changes.
    ///
    /// # Shapes
    /// `ids`: [B, T]; `documents`: B*T numbers
    pub fn grouped(ids: Tensor<2, Int>, documents: &[i64]) -> Self {
        let [_, length] = ids.dims();
        let of_row = |numbers: &[i64]| -> Vec<Range<usize>> {
            let mut start = 0;
            let range = |t: usize| {
                if t > 0 && numbers[t] != numbers[t - 1] {
                    start = t;
                }
                start..t + 1
            };
            (0..length).map(range).collect()
        };
        let ranges = KeyRanges::new(documents.chunks_exact(length.max(1)).map(of_row).collect(), length);
        Self { ids, ranges, documents: None, counts: None }
    }

    /// Position ids, [B, T], or [1, T] where all rows agree.
    pub fn ids(&self) -> Tensor<2, Int> {
        self.ids.clone()
    }

    /// The entries that each entry attends to, of B rows, or of one where all rows agree.
    pub fn ranges(&self) -> &KeyRanges {
        &self.ranges
    }

    /// What is added to attention scores: 0 where entry t may attend to entry s, -1e30 elsewhere.
    /// [B, 1, T, S], or [1, 1, T, S] where all rows agree.
    pub fn bias(&self) -> Tensor<4> {
        self.ranges.bias(&self.ids.device())
    }

    /// The documents of a packed batch.
    pub fn documents(&self) -> Option<&Documents> {
        self.documents.as_ref()
    }

    /// New entries of every row where rows differ, as [`continued_rows`](Self::continued_rows) says; `None` where all
    /// T entries of every row count.
    pub fn counts(&self) -> Option<&[usize]> {
        self.counts.as_deref()
    }

    /// Number of entries, T.
    pub fn length(&self) -> usize {
        self.ids.dims()[1]
    }
}
