//! SwiGLU's composed bodies.

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;

pub(super) fn swiglu<B: Backend>(gate: FloatTensor<B>, up: FloatTensor<B>) -> FloatTensor<B> {
    let s = B::sigmoid(gate.clone());
    B::float_mul(B::float_mul(gate, s), up)
}

/// With s = sigmoid(gate): upstream * up * s (1 + gate (1 - s)) for gate, and upstream * gate * s for up.
pub(super) fn gradients<B: Backend>(
    gate: FloatTensor<B>,
    up: FloatTensor<B>,
    upstream: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let s = B::sigmoid(gate.clone());
    let for_up = B::float_mul(upstream.clone(), B::float_mul(gate.clone(), s.clone()));
    let rest = B::float_add_scalar(B::float_neg(s.clone()), 1.0.into());
    let slope = B::float_mul(s, B::float_add_scalar(B::float_mul(gate, rest), 1.0.into()));
    (B::float_mul(B::float_mul(upstream, up), slope), for_up)
}
