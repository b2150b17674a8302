//! Values and gradients of the operations on flex.
#![allow(clippy::unwrap_used)]

mod activations;
mod adamw;
mod attention;
mod bf16;
mod cross_entropy;
mod edges;
mod gelu;
mod int8;
mod linear;
mod noise;
mod norm;
mod projection;
mod rotary;

use burn::tensor::{Device, Int, Tensor, TensorData};

use noise::noise;

fn targets(values: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Every element within `tolerance` of its own size plus `tolerance` of the largest one.
fn assert_close(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        let limit = tolerance * (e.abs() + largest);
        assert!((a - e).abs() <= limit, "{what}[{index}]: {a} instead of {e}, off by {:e}", (a - e).abs());
    }
}

/// Autodiff devices of this build.
fn devices() -> Vec<Device> {
    vec![Device::flex().autodiff()]
}

/// The difference within `tolerance` of what is expected, as L2 norms.
fn assert_near(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    assert!(actual.iter().all(|value| value.is_finite()), "{what}: not finite");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = norm(&mut actual.iter().zip(expected).map(|(a, e)| a - e));
    let limit = tolerance * norm(&mut expected.iter().copied());
    assert!(difference <= limit, "{what}: differs by {difference:.2e}, allowed {limit:.2e}");
}
