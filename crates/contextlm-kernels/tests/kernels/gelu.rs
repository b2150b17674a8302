use core::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use burn::tensor::{Device, Tensor};
use contextlm_kernels::gelu;

use crate::{assert_close, noise, values};

/// erf by its Maclaurin series, summed in f64: exact to 1e-11 for |x| <= 4.5 (the terms stay below 1e9), and +-1 to
/// 2e-10 beyond.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.5 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        let n = n as f64;
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    FRAC_2_SQRT_PI * sum
}

fn exact(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))
}

fn exact_derivative(x: f64) -> f64 {
    0.5 * (1.0 + erf(x * FRAC_1_SQRT_2)) + x * (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// -8 to 8 in steps of 1/64, exact in f32, so that the closed form sees the same points.
fn grid() -> Vec<f64> {
    (-512..=512).map(|step| step as f64 / 64.0).collect()
}

fn grid_tensor(device: &Device) -> Tensor<1> {
    let points: Vec<f32> = grid().into_iter().map(|x| x as f32).collect();
    Tensor::from_floats(points.as_slice(), device)
}

fn assert_within(what: &str, actual: &[f64], expected: impl Fn(f64) -> f64, scale: f64) {
    for (x, a) in grid().into_iter().zip(actual) {
        let e = scale * expected(x);
        assert!((a - e).abs() <= 5e-7 * scale.abs() * (1.0 + x.abs()), "{what} at {x}: {a} instead of {e}");
    }
}

#[test]
fn the_series_knows_erf() {
    assert!((erf(0.5) - 0.520_499_877_813_046_5).abs() < 1e-14);
    assert!((erf(-2.0) + 0.995_322_265_018_952_7).abs() < 1e-13);
    assert!((erf(4.0) - 0.999_999_984_582_742_1).abs() < 1e-10);
}

#[test]
fn value_and_gradient_are_the_closed_form() {
    for device in [Device::flex().autodiff(), Device::flex().autodiff().gradient_checkpointing()] {
        for upstream in [1.0, -3.0] {
            let x = grid_tensor(&device).require_grad();
            let y = gelu(x.clone());
            let gradients = y.clone().sum().mul_scalar(upstream).backward();
            assert_within("value", &values(y), exact, 1.0);
            assert_within("gradient", &values(x.grad(&gradients).unwrap()), exact_derivative, upstream);
        }
    }
    assert_within("value without autodiff", &values(gelu(grid_tensor(&Device::flex()))), exact, 1.0);
}

#[test]
fn it_recomputes_inside_a_chain_under_checkpointing() {
    let gradient = |device: Device| {
        let x = noise(5, 7, 3, &device).require_grad();
        let y = gelu(gelu(x.clone().mul_scalar(1.5)).tanh()).exp();
        values(x.grad(&(y.clone() * y).sum().backward()).unwrap())
    };
    let device = Device::flex().autodiff();
    assert_close("gradient", &gradient(device.clone().gradient_checkpointing()), &gradient(device), 1e-7);
}

#[test]
fn any_rank_keeps_its_shape() {
    let x = noise(6, 4, 3, &Device::flex());
    let flat = values(gelu(x.clone()));
    let four = gelu(x.reshape([2, 3, 2, 2]));
    assert_eq!(four.dims(), [2, 3, 2, 2]);
    assert_eq!(values(four), flat);
}
