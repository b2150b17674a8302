//! No rows and single rows, for the operations whose own tests have none.

use burn::tensor::{Device, Int, Tensor};
use contextlm_kernels::{
    AdamWStep, CrossEntropyOptions, IGNORE_INDEX, KeyRanges, QkvOrder, adamw, attention_of_projection, gelu, linear,
    linear_cross_entropy, linear_int8, quantize_int8, rotary,
};

use crate::{devices, noise, values};

/// The gradient of a sum.
fn gradient<const D: usize>(x: &Tensor<D>, y: Tensor<D>) -> Vec<f64> {
    values(x.grad(&y.sum().backward()).unwrap())
}

#[test]
fn no_rows_give_no_rows() {
    for device in devices() {
        let x = Tensor::<2>::zeros([0, 16], &device).require_grad();
        assert!(gradient(&x, gelu(x.clone())).is_empty());
        // The second is of a size at which flex has kernels that read whole tiles.
        for (inputs, outputs) in [(16, 5), (128, 384)] {
            let x = Tensor::<3>::zeros([0, 5, inputs], &device).require_grad();
            let weight = noise(inputs, outputs, 1, &device).require_grad();
            let y = linear(x.clone(), weight.clone(), Some(Tensor::zeros([outputs], &device)));
            assert_eq!(y.dims(), [0, 5, outputs]);
            let gradients = y.sum().backward();
            assert_eq!(x.grad(&gradients).unwrap().dims(), [0, 5, inputs]);
            assert!(values(weight.grad(&gradients).unwrap()).iter().all(|value| *value == 0.0));
        }

        let x = Tensor::<4>::zeros([0, 3, 2, 8], &device).require_grad();
        let angles = || Tensor::<4>::ones([1, 3, 1, 4], &device);
        assert!(gradient(&x, rotary(x.clone(), angles(), angles())).is_empty());
        let qkv = Tensor::<3>::zeros([0, 3, 48], &device).require_grad();
        let y = attention_of_projection(qkv.clone(), 2, QkvOrder::Parts, None, &KeyRanges::causal(0, 3), 0.3);
        assert_eq!(y.dims(), [0, 3, 16]);
        assert!(values(qkv.grad(&y.sum().backward()).unwrap()).is_empty());
    }
    let device = Device::flex();
    let weight = quantize_int8(noise(3, 16, 1, &device)).unwrap();
    assert_eq!(linear_int8(Tensor::<2>::zeros([0, 16], &device), weight, None).dims(), [0, 3]);
    let step = AdamWStep { lr: 0.1, beta_1: 0.9, beta_2: 0.9, eps: 1e-8, weight_decay: 0.0, time: 1 };
    let none = || Tensor::<2>::zeros([0, 3], &device);
    let (mut x, mut m, mut v) = (none(), none(), none());
    adamw(&mut x, none(), [&mut m, &mut v], step).unwrap();
    assert_eq!(x.dims(), [0, 3]);
}

#[test]
fn a_loss_of_one_row_and_of_ignored_rows() {
    for device in devices() {
        let (hidden, weight) = (noise(1, 8, 1, &device).require_grad(), noise(7, 8, 2, &device).require_grad());
        let loss = |target: i64| {
            let targets = Tensor::<1, Int>::from_ints([target], &device);
            linear_cross_entropy(hidden.clone(), weight.clone(), targets, CrossEntropyOptions::default())
        };
        let probabilities: Vec<f64> = (0..7).map(|target| (-values(loss(target))[0]).exp()).collect();
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{probabilities:?}");
        let ignored = loss(IGNORE_INDEX);
        assert_eq!(values(ignored.clone()), [0.0]);
        let gradients = ignored.backward();
        assert!(values(hidden.grad(&gradients).unwrap()).iter().all(|value| *value == 0.0));
        assert!(values(weight.grad(&gradients).unwrap()).iter().all(|value| *value == 0.0));
    }
}
