use burn::tensor::{Device, Int, Tensor, TensorData};
use contextlm_nn::{Documents, Positions};

use crate::position_rule::context_of;

/// Where the chunks of a batch lie.
///
/// Chunks have `w` tokens and are cut from the start of every document; an incomplete last chunk is left out.
/// Rows of a packed batch may differ in their number of chunks. Shorter ones are filled up with copies of their
/// first token, which belong to no document and guide nothing.
#[derive(Debug, Clone)]
pub struct ChunkGrid {
    chunk_size: usize,
    length: usize,
    chunks: usize,
    packed: Option<Packed>,
}

/// The parts of the grid that depend on the documents of each row.
#[derive(Debug, Clone)]
struct Packed {
    /// Token index of every member of every chunk, [B, K*w], into the flattened batch.
    members: Vec<i64>,
    /// Position id of every chunk's first token, [B, K].
    ids: Vec<i64>,
    /// Document of every chunk, [B, K]; filling chunks have numbers of their own.
    numbers: Vec<i64>,
    /// Index into the row's contexts (0 initial, 1 + j the prediction from chunk j) for every token, [B, T].
    contexts: Vec<i64>,
    rows: usize,
}

impl ChunkGrid {
    /// The grid of rows that hold one document of `length` tokens each: K = floor(T / w).
    ///
    /// # Panics
    /// If `chunk_size` is 0, which configurations rule out.
    pub fn uniform(length: usize, chunk_size: usize) -> Self {
        Self { chunk_size, length, chunks: length / chunk_size, packed: None }
    }

    /// The grid of a packed batch: it restarts at every document.
    ///
    /// # Panics
    /// If `chunk_size` is 0, which configurations rule out.
    pub fn packed(documents: &Documents, chunk_size: usize) -> Self {
        let (rows, length) = (documents.rows(), documents.length());
        let in_row = |row| documents.of_row(row).map(|(_, length)| length / chunk_size).sum::<usize>();
        let chunks = (0..rows).map(in_row).max().unwrap_or(0);

        let mut packed = Packed { members: vec![], ids: vec![], numbers: vec![], contexts: vec![], rows };
        for row in 0..rows {
            let first_token = (row * length) as i64;
            let mut chunk = 0; // chunks of the row so far
            for (number, (start, length)) in documents.of_row(row).enumerate() {
                packed.contexts.extend((0..length).map(|t| match context_of(t, chunk_size) {
                    0 => 0,
                    k => (chunk + k) as i64,
                }));
                for k in 0..length / chunk_size {
                    let token = first_token + (start + k * chunk_size) as i64;
                    packed.members.extend(token..token + chunk_size as i64);
                    packed.ids.push((k * chunk_size) as i64);
                    packed.numbers.push(number as i64);
                }
                chunk += length / chunk_size;
            }
            for filling in chunk..chunks {
                packed.members.extend(std::iter::repeat_n(first_token, chunk_size));
                packed.ids.push(0);
                packed.numbers.push(-1 - filling as i64);
            }
        }
        Self { chunk_size, length, chunks, packed: Some(packed) }
    }

    /// The grid for these positions: packed where they have documents.
    pub fn at(positions: &Positions, chunk_size: usize) -> Self {
        match positions.documents() {
            Some(documents) => Self::packed(documents, chunk_size),
            None => Self::uniform(positions.length(), chunk_size),
        }
    }

    /// Tokens in a chunk, w.
    pub fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// Complete chunks of a row, K; in a packed batch those of the fullest row.
    pub fn chunks(&self) -> usize {
        self.chunks
    }

    /// Tokens of a row, T.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The states of every complete chunk; needs [`chunks`](Self::chunks) of at least 1.
    ///
    /// # Shapes
    /// [B, T, D] to [B, K, w, D]
    pub fn cut(&self, states: Tensor<3>) -> Tensor<4> {
        let [rows, length, width] = states.dims();
        let shape = [rows, self.chunks, self.chunk_size, width];
        match &self.packed {
            None => states.narrow(1, 0, self.chunks * self.chunk_size).reshape(shape),
            Some(packed) => {
                let members = indices(&packed.members, &states.device());
                states.reshape([rows * length, width]).select(0, members).reshape(shape)
            }
        }
    }

    /// Positions of the chunks for the predictor: chunk k has position id k w, counted from its document.
    pub fn positions(&self, device: &Device) -> Positions {
        match &self.packed {
            None => {
                let ids = Tensor::<1, Int>::arange(0..self.chunks as i64, device).mul_scalar(self.chunk_size as i64);
                Positions::with_ids(ids.unsqueeze::<2>(), 0)
            }
            Some(packed) => Positions::grouped(table(&packed.ids, [packed.rows, self.chunks], device), &packed.numbers),
        }
    }

    /// The context that guides each position, by the position rule.
    ///
    /// # Shapes
    /// c_hat [B, K+1, D] to [B, T, D]
    pub fn spread(&self, contexts: Tensor<3>) -> Tensor<3> {
        let [rows, count, width] = contexts.dims();
        match &self.packed {
            // Context floor((t+1)/w) at position t: every context w times over, from the second copy of the first.
            None => {
                // Without a complete chunk there is one context, and as many copies as are looked at are enough.
                let copies = self.chunk_size.min(self.length + 1);
                contexts
                    .unsqueeze_dim::<4>(2)
                    .expand([rows, count, copies, width])
                    .reshape([rows, count * copies, width])
                    .narrow(1, 1, self.length)
            }
            Some(packed) => {
                let offsets = packed.contexts.iter().enumerate().map(|(i, &k)| (i / self.length * count) as i64 + k);
                let index = indices(&offsets.collect::<Vec<_>>(), &contexts.device());
                contexts.reshape([rows * count, width]).select(0, index).reshape([rows, self.length, width])
            }
        }
    }

    /// Pairs (document, k >= 1) of the batch: the predictions that have a chunk to be compared with.
    pub fn predicted_chunks(&self, rows: usize) -> usize {
        match &self.packed {
            None => rows * self.chunks.saturating_sub(1),
            Some(packed) => self.successors(packed).count(),
        }
    }

    /// Predictions beside the chunks that they predict: of p [B, K, D] and c [B, K, D] the pairs
    /// (p of chunk k-1, c of chunk k) of one document, each [N, D]; `None` if there is no such pair.
    pub fn predictions_and_targets(&self, predicted: Tensor<3>, chunks: Tensor<3>) -> Option<(Tensor<2>, Tensor<2>)> {
        let [rows, count, width] = predicted.dims();
        let pairs = self.predicted_chunks(rows);
        if pairs == 0 {
            return None;
        }
        Some(match &self.packed {
            None => (
                predicted.narrow(1, 0, count - 1).reshape([pairs, width]),
                chunks.narrow(1, 1, count - 1).reshape([pairs, width]),
            ),
            Some(packed) => {
                let later: Vec<i64> = self.successors(packed).map(|i| i as i64).collect();
                let earlier: Vec<i64> = later.iter().map(|i| i - 1).collect();
                let (flat, device) = ([rows * count, width], predicted.device());
                (
                    predicted.reshape(flat).select(0, indices(&earlier, &device)),
                    chunks.reshape(flat).select(0, indices(&later, &device)),
                )
            }
        })
    }

    /// Chunks, counted over the whole batch, that follow another chunk of the same document.
    fn successors<'a>(&self, packed: &'a Packed) -> impl Iterator<Item = usize> + 'a {
        packed.ids.iter().enumerate().filter(|&(_, &id)| id > 0).map(|(i, _)| i)
    }
}

fn indices(values: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

fn table(values: &[i64], shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}
