//! Norms against what burn composes and differentiates.

use burn::tensor::module::layer_norm as composed_layer_norm;
use burn::tensor::{Device, Tensor};
use contextlm_kernels::{layer_norm, rms_norm};

use crate::{assert_near, devices, noise, values};

type Norm = fn(Tensor<2>, Tensor<1>, Tensor<1>) -> Tensor<2>;

const EPS: f64 = 1e-5;

fn composed_rms_norm(x: Tensor<2>, weight: Tensor<1>, _: Tensor<1>) -> Tensor<2> {
    let mean_square = x.clone().square().mean_dim(1);
    x * (mean_square + EPS).sqrt().recip() * weight.unsqueeze()
}

const NORMS: [(&str, Norm, Norm); 2] = [
    ("layer norm", |x, w, b| layer_norm(x, w, b, EPS), |x, w, b| composed_layer_norm(x, w, Some(b), EPS)),
    ("RMS norm", |x, w, _| rms_norm(x, w, EPS), composed_rms_norm),
];

/// Output, and gradients of x, weight and bias; empty where there is none.
fn run(norm: Norm, rows: usize, width: usize, device: &Device) -> [Vec<f64>; 4] {
    let x = (noise(rows, width, 1, device) + 0.5).require_grad();
    let weight = noise(1, width, 2, device).reshape([width]).require_grad();
    let bias = noise(1, width, 3, device).reshape([width]).require_grad();
    let y = norm(x.clone(), weight.clone(), bias.clone());
    let gradients = (y.clone() * noise(rows, width, 4, device)).sum().backward();
    let of = |tensor: Option<Tensor<1>>| tensor.map(values).unwrap_or_default();
    let for_x = values(x.grad(&gradients).unwrap());
    [values(y), for_x, of(weight.grad(&gradients)), of(bias.grad(&gradients))]
}

#[test]
fn values_and_gradients_are_the_composed_ones() {
    for device in devices() {
        for (name, ours, composed) in NORMS {
            for (rows, width) in [(1, 1), (1, 7), (3, 33), (5, 64), (70, 511), (300, 100), (1, 20_000), (3, 20_001)] {
                if width == 1 {
                    continue; // the gradient of x is rounding
                }
                let (found, expected) = (run(ours, rows, width, &device), run(composed, rows, width, &device));
                for (what, (found, expected)) in
                    ["value", "x", "weight", "bias"].iter().zip(found.iter().zip(&expected))
                {
                    let tolerance = if *what == "value" { 1e-5 } else { 1e-4 };
                    assert_near(&format!("{name} [{rows}, {width}]: {what}"), found, expected, tolerance);
                }
            }
        }
    }
}

#[test]
fn one_dimension_has_its_bias_as_layer_norm() {
    let y = layer_norm(
        Tensor::<2>::from_floats([[3.0]], &Device::flex()),
        Tensor::ones([1], &Device::flex()),
        Tensor::full([1], 0.25, &Device::flex()),
        EPS,
    );
    assert_eq!(values(y), [0.25]);
}

#[test]
fn no_rows_have_no_gradient() {
    for device in devices() {
        for (name, ours, _) in NORMS {
            let [value, for_x, for_weight, _] = run(ours, 0, 5, &device);
            assert!(value.is_empty() && for_x.is_empty(), "{name}");
            assert_eq!(for_weight, [0.0; 5], "{name}");
        }
    }
}

#[test]
fn views_are_read_as_they_are() {
    let device = Device::flex().autodiff();
    for (name, ours, _) in NORMS {
        let whole = noise(9, 40, 5, &device);
        let (weight, bias) = (noise(1, 9, 2, &device).reshape([9]), noise(1, 9, 3, &device).reshape([9]));
        let turned = whole.clone().transpose().narrow(0, 3, 30);
        let copied = Tensor::<2>::from_data(turned.clone().into_data(), &device);
        let norm = |x| values(ours(x, weight.clone(), bias.clone()));
        assert_eq!(norm(turned), norm(copied), "{name}");
    }
}

#[test]
fn checkpointing_gives_the_same() {
    for (_, ours, _) in NORMS {
        let device = Device::flex().autodiff();
        assert_eq!(run(ours, 9, 40, &device), run(ours, 9, 40, &device.gradient_checkpointing()));
        let chained = |device: Device| {
            let x = noise(9, 40, 1, &device).require_grad();
            let (weight, bias) = (noise(1, 40, 2, &device).reshape([40]), noise(1, 40, 3, &device).reshape([40]));
            let y = ours(ours(x.clone(), weight.clone(), bias.clone()).tanh(), weight, bias).exp();
            values(x.grad(&(y.clone() * y).sum().backward()).unwrap())
        };
        let device = Device::flex().autodiff();
        assert_eq!(chained(device.clone()), chained(device.gradient_checkpointing()));
    }
}

#[test]
fn widths_must_agree() {
    let device = Device::flex();
    let of = |width: usize| Tensor::<1>::ones([width], &device);
    for (name, norm) in NORMS.map(|(name, ours, _)| (name, ours)) {
        for (weight, bias) in [(3, 4), (1, 4), (8, 4)] {
            let run = || norm(Tensor::ones([2, 4], &device), of(weight), of(bias));
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err(), "{name}");
        }
    }
    let run = || layer_norm(Tensor::<2>::ones([2, 4], &device), of(4), of(1), EPS);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
}
