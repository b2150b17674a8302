//! Values for these tests and for those of `src`.

use burn::tensor::{Device, Tensor, TensorData};

/// Repeatable values in about -2..2 that look random: [rows, columns].
pub(crate) fn noise(rows: usize, columns: usize, seed: u64, device: &Device) -> Tensor<2> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..rows * columns)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as f64 / (1u64 << 22) as f64 - 2.0) as f32
        })
        .collect();
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}
