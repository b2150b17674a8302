//! The fused operations off and on. Its own process, since the switch is that of the process.
#![allow(clippy::unwrap_used)]

use burn::tensor::{DType, Device, Distribution, Int, Tensor};
use contextlm_kernels::{
    CrossEntropyOptions, KeyRanges, attention, fused, gelu_tanh, layer_norm, linear, linear_cross_entropy, rms_norm,
    rotary, set_fused, swiglu,
};

/// All of them after one another, and the gradient of the input.
fn all(x: Tensor<3>, angles: Tensor<4>, device: &Device) -> [Vec<f32>; 2] {
    let x = x.require_grad();
    let (weight, bias) = (Tensor::full([16], 1.5, device), Tensor::full([16], 0.5, device));
    let y = swiglu(gelu_tanh(layer_norm(x.clone(), weight.clone(), bias, 1e-5)), x.clone());
    let heads = rms_norm(y, weight, 1e-5).reshape([2, 9, 2, 8]);
    let heads = rotary(heads, angles.clone().cos(), angles.sin());
    let y = attention(heads.clone(), heads.clone(), heads, &KeyRanges::causal(0, 9), 0.5);
    let gradients = y.clone().square().sum().backward();
    [y.into_data().try_into_vec().unwrap(), x.grad(&gradients).unwrap().into_data().try_into_vec().unwrap()]
}

/// A linear map of few rows, and the gradient of the loss.
fn maps(x: &Tensor<2>, weight: &Tensor<2>) -> [Vec<f32>; 2] {
    // The bias is of another type, as in models whose matrices alone are in bf16.
    let bias = Tensor::full([weight.dims()[1]], 0.5, (&x.device().inner(), DType::BF16));
    let y = linear(x.clone().inner(), weight.clone().inner(), Some(bias));
    let hidden = x.clone().require_grad();
    let targets = Tensor::<1, Int>::from_ints([0, 5, -100], &x.device());
    let loss =
        linear_cross_entropy(hidden.clone(), weight.clone().transpose(), targets, CrossEntropyOptions::default());
    let gradient = hidden.grad(&loss.backward()).unwrap();
    [y.into_data().try_into_vec().unwrap(), gradient.into_data().try_into_vec().unwrap()]
}

#[test]
fn off_is_the_same_up_to_rounding_and_on_again_bit_by_bit() {
    let device = Device::flex().autodiff();
    device.seed(0);
    let x = Tensor::random([2, 9, 16], Distribution::Normal(0.0, 1.0), &device);
    let angles = Tensor::random([1, 9, 1, 2], Distribution::Uniform(0.0, 6.0), &device);
    let angles = Tensor::cat(vec![angles.clone(), angles], 3);
    let few = Tensor::random([3, 700], Distribution::Normal(0.0, 0.1), &device);
    let weight = Tensor::random([700, 101], Distribution::Normal(0.0, 0.1), &device);
    let run = || [all(x.clone(), angles.clone(), &device), maps(&few, &weight)].concat();
    assert!(fused());
    let on = run();
    set_fused(false);
    assert!(!fused());
    let off = run();
    set_fused(true);
    assert_eq!(on, run());
    for (on, off) in on.iter().zip(&off) {
        assert_ne!(on, off, "the switch changes nothing");
        let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
        let difference = norm(&mut on.iter().zip(off).map(|(a, b)| a - b));
        assert!(difference <= 1e-5 * norm(&mut off.iter().copied()), "{difference}");
    }
}
