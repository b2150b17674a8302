use core::ops::Range;
use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Added to the score of a key that may not be attended to. `exp` of it is exactly 0 in f32 and bf16, and unlike an
/// infinity it can be written in every shader language.
const MASKED: f32 = -1e30;

/// The keys that each query attends to, one range of neighbours a query: all up to its own place in plain causal
/// attention, those from the start of its document where several are packed into a row.
///
/// Clones share what they hold.
#[derive(Debug, Clone)]
pub struct KeyRanges(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rows: usize,
    queries: usize,
    keys: usize,
    ranges: Vec<Range<u32>>,
    bias: OnceLock<Tensor<4>>,
}

impl KeyRanges {
    /// `queries` queries that are the last of `past + queries` keys, each of which attends to its own key and all before.
    pub fn causal(past: usize, queries: usize) -> Self {
        let ranges = (0..queries).map(|query| 0..past + query + 1).collect();
        Self::new(vec![ranges], past + queries)
    }

    /// The range of every query of every row, rows that all have the same number of queries; one row alone holds for all
    /// rows of a batch. `keys` is the number of keys.
    ///
    /// # Panics
    /// If rows differ in length, or a range is empty or reaches beyond the keys.
    pub fn new(rows: Vec<Vec<Range<usize>>>, keys: usize) -> Self {
        let queries = rows.first().map_or(0, Vec::len);
        assert!(rows.iter().all(|row| row.len() == queries), "every row has {queries} queries as the first one");
        let count = rows.len();
        let checked = |range: Range<usize>| {
            assert!(range.start < range.end && range.end <= keys, "the keys {range:?} of {keys}");
            range.start as u32..range.end as u32
        };
        let ranges = rows.into_iter().flatten().map(checked).collect();
        Self(Arc::new(Inner { rows: count, queries, keys, ranges, bias: OnceLock::new() }))
    }

    /// Queries of a row, T.
    pub fn queries(&self) -> usize {
        self.0.queries
    }

    /// Keys, S.
    pub fn keys(&self) -> usize {
        self.0.keys
    }

    /// Rows, 1 where all rows of the batch agree.
    pub fn rows(&self) -> usize {
        self.0.rows
    }

    /// Whether, in all rows, query t attends to the keys 0..=t and there are no others.
    pub(crate) fn all_before(&self) -> bool {
        let Inner { queries, keys, ranges, .. } = &*self.0;
        queries == keys && ranges.iter().enumerate().all(|(i, range)| *range == (0..(i % queries) as u32 + 1))
    }

    /// Whether every query attends to every key.
    pub(crate) fn all_keys(&self) -> bool {
        self.0.ranges.iter().all(|range| *range == (0..self.0.keys as u32))
    }

    /// The ranges of a row's queries.
    pub(crate) fn of_row(&self, row: usize) -> &[Range<u32>] {
        let row = if self.0.rows == 1 { 0 } else { row };
        &self.0.ranges[row * self.0.queries..(row + 1) * self.0.queries]
    }

    /// What is added to attention scores: 0 where query t may attend to key s, -1e30 elsewhere, [B, 1, T, S], or
    /// [1, 1, T, S] where all rows agree. It is made once, for the device of the first call.
    pub fn bias(&self, device: &Device) -> Tensor<4> {
        let bias = self.0.bias.get_or_init(|| self.make_bias(device));
        if bias.device() == *device { bias.clone() } else { self.make_bias(device) }
    }

    /// Compared on the device: two numbers a query are sent there, and not one for every query and key.
    fn make_bias(&self, device: &Device) -> Tensor<4> {
        let Inner { rows, queries, keys, ranges, .. } = &*self.0;
        let of_queries = |end: fn(&Range<u32>) -> u32| {
            let values: Vec<i64> = ranges.iter().map(|range| end(range).into()).collect();
            Tensor::<4, Int>::from_data(TensorData::new(values, [*rows, 1, *queries, 1]), device)
        };
        let (starts, ends) = (of_queries(|range| range.start), of_queries(|range| range.end));
        let places = Tensor::<1, Int>::arange(0..*keys as i64, device).reshape([1, 1, 1, *keys]);
        let masked = places.clone().lower(starts).bool_or(places.greater_equal(ends)); // [B, 1, T, S]
        Tensor::zeros([*rows, 1, *queries, *keys], device).mask_fill(masked, MASKED)
    }
}
