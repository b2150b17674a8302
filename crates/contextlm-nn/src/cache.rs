use burn::tensor::{Device, Tensor};

use crate::cast;

/// What one block remembers for decoding, as far as whoever decodes has to know it.
///
/// Rows are sequences that are decoded together. They may hold different numbers of entries: the new entries of a
/// row follow those that the row already has ([`Positions::counts`](crate::Positions::counts)).
pub trait DecodingCache: Clone + Send + std::fmt::Debug {
    /// The same content with other rows and other room: row i of the result is row `rows[i]` of this cache, and
    /// `capacity`, at least the entries held, entries fit.
    fn arranged(&self, rows: &[usize], capacity: usize) -> Self;

    /// Bytes that one entry of one row takes.
    fn bytes_per_entry(&self) -> usize;
}

/// The cache of blocks that remember nothing: of backbones that have no caches.
impl DecodingCache for () {
    fn arranged(&self, _rows: &[usize], _capacity: usize) -> Self {}

    fn bytes_per_entry(&self) -> usize {
        0
    }
}

/// Keys and values of the entries that one block has seen, in memory that is reserved once.
#[derive(Debug, Clone)]
pub struct KvCache {
    keys: Tensor<4>,
    values: Tensor<4>,
    /// Entries of every row.
    lengths: Vec<usize>,
}

impl KvCache {
    /// Room for `capacity` entries of `rows` sequences: twice [B, G, capacity, Dh].
    pub fn new(rows: usize, kv_heads: usize, head_dim: usize, capacity: usize, device: &Device) -> Self {
        let shape = [rows, kv_heads, capacity, head_dim];
        Self { keys: Tensor::zeros(shape, device), values: Tensor::zeros(shape, device), lengths: vec![0; rows] }
    }

    /// Entries held, of the longest row.
    pub fn len(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// True before the first entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that fit.
    pub fn capacity(&self) -> usize {
        self.keys.dims()[2]
    }

    /// Adds entries and returns all keys and values so far. `counts`, where rows differ, has the number of new
    /// entries of every row; what follows them in a row is filling and is not kept. Of a row that is shorter than the
    /// longest the last values returned are not its own: [`Positions::bias`](crate::Positions::bias) masks them.
    ///
    /// # Shapes
    /// [B, G, T, Dh] to [B, G, S, Dh]
    ///
    /// # Panics
    /// If the entries do not fit; whoever decodes checks [`capacity`](Self::capacity) first.
    pub fn append(&mut self, keys: Tensor<4>, values: Tensor<4>, counts: Option<&[usize]>) -> (Tensor<4>, Tensor<4>) {
        let [rows, _, new, _] = keys.dims();
        match counts {
            None => self.write(0..rows, new, keys, values),
            Some(counts) => {
                for (row, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                    let of_row = |all: &Tensor<4>| all.clone().narrow(0, row, 1).narrow(2, 0, count);
                    self.write(row..row + 1, count, of_row(&keys), of_row(&values));
                }
            }
        }
        let end = self.len();
        (self.keys.clone().narrow(2, 0, end), self.values.clone().narrow(2, 0, end))
    }

    /// Writes `new` entries behind those of these rows, which are of one length.
    fn write(&mut self, rows: std::ops::Range<usize>, new: usize, keys: Tensor<4>, values: Tensor<4>) {
        let [_, heads, capacity, width] = self.keys.dims();
        let start = self.lengths[rows.start];
        let end = start + new;
        assert!(end <= capacity, "the cache holds {capacity} entries, not {end}");
        if self.keys.dtype() != keys.dtype() {
            // Of the first entries: what they are made of is not known before.
            self.keys.inplace(|all| all.cast(keys.dtype()));
            self.values.inplace(|all| all.cast(values.dtype()));
        }
        let place = [rows.clone(), 0..heads, start..end, 0..width];
        self.keys.inplace(|all| all.slice_assign(place.clone(), keys));
        self.values.inplace(|all| all.slice_assign(place, values));
        self.lengths[rows].fill(end);
    }
}

impl DecodingCache for KvCache {
    fn arranged(&self, rows: &[usize], capacity: usize) -> Self {
        let [_, heads, _, width] = self.keys.dims();
        let mut arranged = Self::new(rows.len(), heads, width, capacity, &self.keys.device());
        let end = self.len();
        if end == 0 || rows.is_empty() {
            return arranged;
        }
        let dtype = self.keys.dtype();
        arranged.keys.inplace(|all| cast(all, dtype));
        arranged.values.inplace(|all| cast(all, dtype));
        let place = [0..rows.len(), 0..heads, 0..end, 0..width];
        let kept = |all: &Tensor<4>| {
            let rows = rows.iter().map(|&row| all.clone().narrow(0, row, 1).narrow(2, 0, end)).collect();
            Tensor::cat(rows, 0)
        };
        arranged.keys.inplace(|all| all.slice_assign(place.clone(), kept(&self.keys)));
        arranged.values.inplace(|all| all.slice_assign(place, kept(&self.values)));
        arranged.lengths = rows.iter().map(|&row| self.lengths[row]).collect();
        arranged
    }

    fn bytes_per_entry(&self) -> usize {
        let [_, heads, _, width] = self.keys.dims();
        2 * heads * width * self.keys.dtype().size()
    }
}
