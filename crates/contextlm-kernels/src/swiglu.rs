//! The gated activation of Llama's MLP.

mod backward;
mod composed;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "libtorch")]
mod libtorch;
mod ops;
#[cfg(any(feature = "flex", feature = "libtorch"))]
mod slices;

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn::tensor::activation::silu;
use ops::SwiGluOps;

use crate::fused;

/// `silu(gate) * up` (arXiv 2002.05202), where `silu(x) = x / (1 + exp(-x))`.
///
/// # Shapes
/// gate, up and the result: any, all the same
///
/// # Panics
/// If the shapes differ, or on a backend whose feature is off.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    let (of_gate, of_up) = (gate.dims(), up.dims());
    assert_eq!(of_gate, of_up, "gate is {of_gate:?}, up is {of_up:?}: they must be equal");
    if !fused() {
        return silu(gate) * up;
    }
    Tensor::from_dispatch(Dispatch::fused_swiglu(gate.into_dispatch(), up.into_dispatch()))
}
