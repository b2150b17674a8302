use burn::tensor::{Device, Tensor};

/// Keys and values of the entries that one block has seen, in memory that is reserved once.
#[derive(Debug, Clone)]
pub struct KvCache {
    keys: Tensor<4>,
    values: Tensor<4>,
    length: usize,
}

impl KvCache {
    /// Room for `capacity` entries of `rows` sequences: twice [B, G, capacity, Dh].
    pub fn new(rows: usize, kv_heads: usize, head_dim: usize, capacity: usize, device: &Device) -> Self {
        let shape = [rows, kv_heads, capacity, head_dim];
        Self { keys: Tensor::zeros(shape, device), values: Tensor::zeros(shape, device), length: 0 }
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.length
    }

    /// True before the first entry.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Entries that fit.
    pub fn capacity(&self) -> usize {
        self.keys.dims()[2]
    }

    /// Adds entries and returns all keys and values so far.
    ///
    /// # Shapes
    /// [B, G, T, Dh] to [B, G, S, Dh]
    ///
    /// # Panics
    /// If the entries do not fit; whoever decodes checks [`capacity`](Self::capacity) first.
    pub fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let [rows, heads, new, width] = keys.dims();
        let end = self.length + new;
        assert!(end <= self.capacity(), "the cache holds {} entries, not {end}", self.capacity());
        let place = [0..rows, 0..heads, self.length..end, 0..width];
        self.keys.inplace(|all| all.slice_assign(place.clone(), keys));
        self.values.inplace(|all| all.slice_assign(place, values));
        self.length = end;
        (self.keys.clone().narrow(2, 0, end), self.values.clone().narrow(2, 0, end))
    }
}
