//! Clocks.

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};

/// The median time of `work`, after one run that does not count.
pub fn median_seconds(repeats: usize, device: &Device, work: &mut dyn FnMut()) -> f64 {
    let mut once = || {
        let clock = Instant::now();
        work();
        device.sync().ok();
        clock.elapsed().as_secs_f64()
    };
    once();
    let mut seconds: Vec<f64> = (0..repeats.max(1)).map(|_| once()).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Multiplications and additions a second in a large matrix product.
pub fn product_rate(device: &Device, repeats: usize) -> f64 {
    const SIZE: usize = 1536;
    let a = Tensor::<2>::random([SIZE, SIZE], Distribution::Normal(0.0, 1.0), device);
    let b = a.clone();
    let seconds = median_seconds(repeats, device, &mut || drop(a.clone().matmul(b.clone())));
    2.0 * (SIZE as f64).powi(3) / seconds
}

/// Bytes a second that are read or written when 64 MiB of f32 are doubled, element by element, on all threads.
pub fn copy_rate(device: &Device, repeats: usize) -> f64 {
    const ELEMENTS: usize = 16 << 20;
    let (mut x, zero) = (Tensor::<1>::ones([ELEMENTS], device), Tensor::<1>::zeros([ELEMENTS], device));
    let (mut m, mut v) = (zero.clone() + 0.0, zero.clone() + 0.0);
    let step = contextlm_kernels::AdamWStep { lr: 0.0, beta_1: 0.9, beta_2: 0.9, eps: 1.0, weight_decay: 0.0, time: 1 };
    // One pass that reads four arrays and writes three of them, where there is one; else an addition.
    let mut fused = true;
    let seconds = median_seconds(repeats, device, &mut || {
        if contextlm_kernels::adamw(&mut x, zero.clone(), [&mut m, &mut v], step).is_none() {
            fused = false;
            x = x.clone() + zero.clone();
        }
    });
    (if fused { 7 } else { 3 }) as f64 * (4 * ELEMENTS) as f64 / seconds
}
