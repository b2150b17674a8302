use burn::tensor::{DType, Device, Tensor};

use super::*;
use crate::attention_with;

#[path = "../../../tests/kernels/noise.rs"]
mod noise;
use noise::noise;

/// Output and gradients of q, k and v, for an upstream gradient that differs everywhere.
fn results(inputs: &[Tensor<4>; 3], attend: impl Fn(Tensor<4>, Tensor<4>, Tensor<4>) -> Tensor<3>) -> [Vec<f32>; 4] {
    let [q, k, v] = inputs.clone().map(Tensor::require_grad);
    let out = attend(q.clone(), k.clone(), v.clone());
    let wave = Tensor::arange(0..out.shape().num_elements() as i64, &out.device()).float().sin().reshape(out.dims());
    let gradients = (out.clone().cast(DType::F32) * wave).sum().backward();
    let values = |x: Tensor<4>| x.into_data().convert::<f32>().try_to_vec::<f32>().unwrap();
    let [q, k, v] = [q, k, v].map(|x| values(x.grad(&gradients).unwrap()));
    [values(out.unsqueeze()), q, k, v]
}

/// L2 of the difference over L2.
fn error(found: &[f32], expected: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    difference / norm(&mut expected.iter().copied()).max(1e-30)
}

/// The same in every run: of values from the device's generator, one set in a thousand has gradients that cancel so far that
/// bf16 misses its limit.
fn inputs(rows: usize, [queries, keys]: [usize; 2], [heads, kv_heads]: [usize; 2], device: &Device) -> [Tensor<4>; 3] {
    let device = device.clone().inner();
    let of = |length, heads, seed| noise(rows * length, heads * 8, seed, &device).reshape([rows, length, heads, 8]);
    let [q, k, v] = [of(queries, heads, 1), of(keys, kv_heads, 2), of(keys, kv_heads, 3)];
    // The same values in either type.
    [q, k, v].map(|x| Tensor::from_inner(x.cast(DType::BF16).cast(DType::F32)))
}

#[test]
fn it_is_the_attention_of_burns_own_operations() {
    let device = Device::flex().autodiff();
    let packed = KeyRanges::new(vec![vec![0..1, 0..2, 2..3, 2..4, 2..5], vec![0..1, 1..2, 1..3, 1..4, 4..5]], 5);
    for (what, ranges, heads) in [
        ("causal", KeyRanges::causal(0, 5), [2, 2]),
        ("one query", KeyRanges::causal(4, 1), [2, 2]),
        ("earlier keys, grouped heads", KeyRanges::causal(6, 5), [4, 2]),
        ("packed documents, one key head", packed, [4, 1]),
    ] {
        let inputs = inputs(2, [ranges.queries(), ranges.keys()], heads, &device);
        let expected = results(&inputs, |q, k, v| attention_with(q, k, v, &ranges, 0.3, |weights| weights));
        let found = results(&inputs, |q, k, v| attention(q, k, v, &ranges, 0.3));
        for ((found, expected), tolerance) in found.iter().zip(&expected).zip([1e-5, 1e-4, 1e-4, 1e-4]) {
            assert!(error(found, expected) <= tolerance, "{what}: {}", error(found, expected));
        }

        let low = inputs.map(|x| x.cast(DType::BF16));
        let found = results(&low, |q, k, v| attention(q, k, v, &ranges, 0.3));
        for (found, expected) in found.iter().zip(&expected) {
            assert!(error(found, expected) <= 2e-2, "{what}, bf16: {}", error(found, expected));
        }
    }
}

#[test]
fn a_projection_has_one_gradient() {
    use crate::{QkvOrder, rotary, split_projection};
    let device = Device::flex().autodiff();
    let ranges = KeyRanges::causal(0, 5);
    for order in [QkvOrder::Parts, QkvOrder::Heads] {
        let qkv = noise(2 * 5, 3 * 3 * 8, 1, &device).reshape([2, 5, 3 * 3 * 8]);
        let run = |attend: &dyn Fn(Tensor<3>) -> Tensor<3>| {
            let qkv = qkv.clone().require_grad();
            let out = attend(qkv.clone());
            let wave = Tensor::arange(0..out.shape().num_elements() as i64, &device).float().sin().reshape(out.dims());
            let gradients = (out.clone() * wave).sum().backward();
            [out, qkv.grad(&gradients).unwrap()].map(|x| x.into_data().try_to_vec::<f32>().unwrap())
        };
        for rotated in [0, 6, 8] {
            let turned = (rotated > 0).then(|| {
                let half = noise(5, rotated / 2, 2, &device).reshape([1, 5, 1, rotated / 2]);
                let angles = Tensor::cat(vec![half.clone(), half], 3);
                (angles.clone().cos(), angles.sin())
            });
            let found = run(&|qkv| attention_of_projection(qkv, 3, order, turned.clone(), &ranges, 0.3));
            let expected = run(&|qkv| {
                let [mut q, mut k, v] = split_projection(qkv, 3, order);
                if let Some((cos, sin)) = turned.clone() {
                    [q, k] = [q, k].map(|x| rotary(x, cos.clone(), sin.clone()));
                }
                attention_with(q, k, v, &ranges, 0.3, |weights| weights)
            });
            for ((found, expected), tolerance) in found.iter().zip(&expected).zip([1e-5, 1e-4]) {
                assert!(error(found, expected) <= tolerance, "{order:?}, {rotated}: {}", error(found, expected));
            }
        }
    }
}
