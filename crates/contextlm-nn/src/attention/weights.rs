use burn::tensor::{DType, Tensor};
use contextlm_kernels::attention_with;

use super::Attention;
use crate::{Positions, Rotary, cast};

impl Attention {
    /// The probabilities with which entries attend to each other, to look at: what [`forward`](Self::forward) mixes
    /// values with, without dropout. f32, and all T x T of them exist at once.
    ///
    /// # Shapes
    /// [B, T, D] to [B, H, T, T]; row t sums to 1 over the entries 0..=t
    pub fn weights(&self, x: Tensor<3>, at: &Positions, rotary: Option<&Rotary>) -> Tensor<4> {
        let [rows, length, _] = x.dims();
        let device = x.device();
        let [query, key, value] = self.project(x, rotary);
        let mut seen = Tensor::zeros([rows, self.config.heads, length, length], &device);
        let scale = 1.0 / (self.config.head_dim as f64).sqrt();
        attention_with(query, key, value, at.ranges(), scale, |weights| {
            seen = cast(weights.clone(), DType::F32);
            weights
        });
        seen
    }
}
