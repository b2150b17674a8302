//! Activations against what burn composes and differentiates.

use burn::tensor::activation::{gelu_approximate, silu};
use burn::tensor::{Device, Tensor};
use contextlm_kernels::{gelu_tanh, swiglu};

use crate::{assert_near, devices, noise, values};

type Activation = fn(Tensor<2>, Tensor<2>) -> Tensor<2>;

const ACTIVATIONS: [(&str, Activation, Activation); 2] =
    [("GELU by tanh", |x, _| gelu_tanh(x), |x, _| gelu_approximate(x)), ("SwiGLU", swiglu, |gate, up| silu(gate) * up)];

/// Output and gradients; the second one empty where the second input is not used.
fn run(activation: Activation, rows: usize, width: usize, size: f64, device: &Device) -> [Vec<f64>; 3] {
    let x = (noise(rows, width, 1, device) * size).require_grad();
    let second = noise(rows, width, 2, device).require_grad();
    let y = activation(x.clone(), second.clone());
    let gradients = (y.clone() * noise(rows, width, 3, device)).sum().backward();
    let of = |tensor: Option<Tensor<2>>| tensor.map(values).unwrap_or_default();
    [values(y), of(x.grad(&gradients)), of(second.grad(&gradients))]
}

#[test]
fn values_and_gradients_are_the_composed_ones() {
    for device in devices() {
        for (name, ours, composed) in ACTIVATIONS {
            for (rows, width, size) in [(0, 3, 1.0), (1, 1, 1.0), (3, 33, 1.0), (7, 13, 5.0), (41, 1009, 2.0)] {
                let found = run(ours, rows, width, size, &device);
                let expected = run(composed, rows, width, size, &device);
                for (what, (found, expected)) in ["value", "first", "second"].iter().zip(found.iter().zip(&expected)) {
                    let tolerance = if *what == "value" { 1e-5 } else { 1e-4 };
                    assert_near(&format!("{name} [{rows}, {width}]: {what}"), found, expected, tolerance);
                }
            }
        }
    }
}

#[test]
fn far_from_zero_they_are_zero_and_x() {
    let x = Tensor::<1>::from_floats([-1e10, -200.0, 0.0, 200.0, 1e10], &Device::flex().autodiff()).require_grad();
    for activation in [gelu_tanh, |x: Tensor<1>| swiglu(x.clone(), x.ones_like()), contextlm_kernels::gelu] {
        let y = activation(x.clone());
        let gradients = y.clone().sum().backward();
        assert_eq!(values(y), [0.0, 0.0, 0.0, 200.0, 1e10]);
        let slopes = values(x.grad(&gradients).unwrap());
        assert!(slopes.iter().zip([0.0, 0.0, 0.5, 1.0, 1.0]).all(|(a, b)| (a - b).abs() < 2e-7), "{slopes:?}");
    }
}

#[test]
fn checkpointing_gives_the_same() {
    for (_, ours, _) in ACTIVATIONS {
        let gradient = |device: Device| {
            let (x, second) = (noise(9, 40, 1, &device).require_grad(), noise(9, 40, 2, &device).require_grad());
            let y = ours(ours(x.clone(), second.clone()).tanh(), second).exp();
            values(x.grad(&(y.clone() * y).sum().backward()).unwrap())
        };
        let device = Device::flex().autodiff();
        assert_eq!(gradient(device.clone()), gradient(device.gradient_checkpointing()));
    }
}
