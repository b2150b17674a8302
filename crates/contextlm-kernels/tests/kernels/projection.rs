//! Attention from a projection against attention of its parts.

use burn::tensor::{Device, Tensor};
use contextlm_kernels::{KeyRanges, QkvOrder, attention, attention_of_projection, rotary, split_projection};

use crate::{assert_near, devices, noise, values};

/// Output and gradient of the projection.
fn run(whole: bool, order: QkvOrder, rotated: usize, shape: [usize; 4], device: &Device) -> [Vec<f64>; 2] {
    let [rows, length, heads, width] = shape;
    let qkv =
        noise(rows * length, 3 * heads * width, 1, device).reshape([rows, length, 3 * heads * width]).require_grad();
    let half = noise(1, length * rotated / 2, 2, device);
    let angles = (rotated > 0).then(|| {
        let half = half.reshape([1, length, 1, rotated / 2]);
        let angles = Tensor::cat(vec![half.clone(), half], 3);
        (angles.clone().cos(), angles.sin())
    });
    let (ranges, scale) = (KeyRanges::causal(0, length), 0.3);
    let y = if whole {
        attention_of_projection(qkv.clone(), heads, order, angles, &ranges, scale)
    } else {
        let [mut q, mut k, v] = split_projection(qkv.clone(), heads, order);
        if let Some((cos, sin)) = angles {
            (q, k) = (rotary(q, cos.clone(), sin.clone()), rotary(k, cos, sin));
        }
        attention(q, k, v, &ranges, scale)
    };
    let upstream = noise(rows * length, heads * width, 3, device).reshape([rows, length, heads * width]);
    let gradients = (y.clone() * upstream).sum().backward();
    [values(y), values(qkv.grad(&gradients).unwrap())]
}

#[test]
fn values_and_gradients_are_those_of_the_parts() {
    for device in devices() {
        for order in [QkvOrder::Parts, QkvOrder::Heads] {
            for (shape, rotated) in [([1, 1, 1, 2], 0), ([2, 5, 3, 8], 0), ([2, 70, 3, 8], 4), ([1, 9, 2, 6], 6)] {
                let (found, expected) =
                    (run(true, order, rotated, shape, &device), run(false, order, rotated, shape, &device));
                for (what, (found, expected)) in ["value", "gradient"].iter().zip(found.iter().zip(&expected)) {
                    assert_near(&format!("{order:?} {shape:?} {rotated}: {what}"), found, expected, 1e-6);
                }
            }
        }
    }
}

#[test]
fn checkpointing_gives_the_same() {
    let run = |device: Device| run(true, QkvOrder::Heads, 4, [2, 9, 2, 8], &device);
    let device = Device::flex().autodiff();
    assert_eq!(run(device.clone()), run(device.gradient_checkpointing()));
}
