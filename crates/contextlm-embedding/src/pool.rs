use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use contextlm_nn::{Init, in_f32, product};
use serde::{Deserialize, Serialize};

/// How the states of a chunk become one context embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Their mean, added in token order.
    Mean,
    /// The last one.
    Last,
    /// The first one.
    First,
    /// The largest value of each dimension; the first of several equal ones takes the gradient.
    Max,
    /// A linear map without bias of all w states one after another, which starts as the mean.
    Learned,
}

/// Pooling with its weight, if it has one.
#[derive(Module, Debug)]
pub struct Pool {
    /// Learned pooling: [D, w*D], column j*D + d is dimension d of the j-th state. Starts at 1/w where d is the
    /// row, else 0: the mean.
    pub weight: Option<Param<Tensor<2>>>,
    #[module(skip)]
    pooling: Pooling,
}

impl Pooling {
    /// The pooling of chunks of `chunk_size` states of `width` dimensions.
    pub fn init(self, init: &Init, width: usize, chunk_size: usize, device: &Device) -> Pool {
        let weight = (self == Self::Learned).then(|| {
            let columns = chunk_size * width;
            let mean = 1.0 / chunk_size as f32;
            let at = move |i: usize| if (i % columns) % width == i / columns { mean } else { 0.0 };
            init.from_fn([width, columns], at, device)
        });
        Pool { weight, pooling: self }
    }
}

impl Pool {
    /// Context embeddings of complete chunks.
    ///
    /// # Shapes
    /// [B, K, w, D] to [B, K, D]
    pub fn forward(&self, chunks: Tensor<4>) -> Tensor<3> {
        let [rows, count, size, width] = chunks.dims();
        match (self.pooling, &self.weight) {
            (Pooling::Learned, Some(weight)) => {
                product(chunks.reshape([rows, count, size * width]), weight.val().transpose())
            }
            (Pooling::Mean | Pooling::Learned, _) => in_f32(chunks, |chunks| chunks.mean_dim(2).squeeze_dim(2)),
            (Pooling::Last, _) => chunks.narrow(2, size - 1, 1).squeeze_dim(2),
            (Pooling::First, _) => chunks.narrow(2, 0, 1).squeeze_dim(2),
            (Pooling::Max, _) => first_max(chunks),
        }
    }
}

/// The maximum over the states of a chunk, taken from the first state that has it: the index is found with `>`,
/// so that every backend sends the gradient of a tie to the same place.
fn first_max(chunks: Tensor<4>) -> Tensor<3> {
    let [_, _, size, _] = chunks.dims();
    let mut best = chunks.clone().narrow(2, 0, 1);
    for j in 1..size {
        let next = chunks.clone().narrow(2, j, 1);
        let larger = next.clone().greater(best.clone());
        best = best.mask_where(larger, next);
    }
    best.squeeze_dim(2)
}
