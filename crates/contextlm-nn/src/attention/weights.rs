use burn::tensor::activation::softmax;
use burn::tensor::{DType, Tensor};

use super::{Attention, repeat_heads};
use crate::{Positions, Rotary, cast};

impl Attention {
    /// The probabilities with which entries attend to each other, to look at: what [`forward`](Self::forward) mixes
    /// values with, without dropout. f32, and all T x T of them exist at once.
    ///
    /// # Shapes
    /// [B, T, D] to [B, H, T, T]; row t sums to 1 over the entries 0..=t
    pub fn weights(&self, x: Tensor<3>, at: &Positions, rotary: Option<&Rotary>) -> Tensor<4> {
        let (mut query, mut key, _) = self.project(x);
        if let Some(rotary) = rotary {
            query = rotary.rotate(query);
            key = rotary.rotate(key);
        }
        let key = repeat_heads(key, self.config.heads / self.config.kv_heads);
        let query = query.mul_scalar(1.0 / (self.config.head_dim as f64).sqrt());
        let scores = query.matmul(key.swap_dims(2, 3));
        softmax(cast(scores, DType::F32) + at.bias(), 3)
    }
}
