//! The extension trait of the loss, with its composed body.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata, backend_extension, get_or_init_device_settings};
use burn::tensor::{IndexingUpdateOp, Shape, Slice};

use super::IGNORE_INDEX;

/// The loss, and the gradients of hidden states and weight where they were asked for.
pub(crate) type LossAndGradients<B> = (FloatTensor<B>, Option<FloatTensor<B>>, Option<FloatTensor<B>>);

/// Linear layer and cross-entropy together. Shapes as in [`linear_cross_entropy`](super::linear_cross_entropy); `scale`
/// is one over the divisor, `slice_rows` is at least 1.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu")),
    LibTorch: cfg(feature = "libtorch"),
    Autodiff
)]
pub(crate) trait LinearCrossEntropyOps: Backend {
    /// The loss `[1]`.
    #[allow(unused_variables)] // without a backend
    fn linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        scale: f64,
        slice_rows: usize,
    ) -> FloatTensor<Self> {
        composed::<Self>(hidden, weight, targets, scale, slice_rows, [false; 2]).0
    }

    /// The loss `[1]` and, in the same pass, its gradients for hidden [N, D] and weight [V, D], where `wanted`.
    #[allow(unused_variables)]
    fn linear_cross_entropy_with_gradients(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        scale: f64,
        slice_rows: usize,
        wanted: [bool; 2],
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>, Option<FloatTensor<Self>>) {
        composed::<Self>(hidden, weight, targets, scale, slice_rows, wanted)
    }
}

#[cfg(feature = "flex")]
impl LinearCrossEntropyOps for burn::backend::Flex {}

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
impl LinearCrossEntropyOps for burn::backend::Cube {}

#[cfg(feature = "libtorch")]
impl LinearCrossEntropyOps for burn::backend::LibTorch {}

/// The composed body, one slice of rows after another.
///
/// With m = max(logits), e = exp(logits - m) and s = sum(e) of a row, its loss is ln(s) - (logits[target] - m), and the
/// gradient of its logits is `scale` * (e / s - onehot) = `scale` / s * (e - s * onehot). The bracket is made in place of
/// `e` by one scattered addition a row, and the factor is applied to the narrow tensors of width D, never to [n, V].
fn composed<B: Backend>(
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    targets: IntTensor<B>,
    scale: f64,
    slice_rows: usize,
    [want_hidden, want_weight]: [bool; 2],
) -> LossAndGradients<B> {
    let (device, dtype) = (hidden.device(), hidden.dtype().into());
    let [rows, width] = hidden.shape().dims();
    let [vocabulary, _] = weight.shape().dims();

    let ignored =
        B::int_equal_elem(targets.clone(), IGNORE_INDEX.into(), get_or_init_device_settings::<B>(&device).bool_dtype);
    let targets = B::int_mask_fill(targets, ignored.clone(), 0.into());
    let targets = B::int_reshape(targets, Shape::new([rows, 1]));
    let factors = B::float_mul_scalar(B::bool_into_float(B::bool_not(ignored), dtype), scale.into());
    let factors = B::float_reshape(factors, Shape::new([rows, 1])); // [N, 1], 0 where ignored

    let mut losses = Vec::new();
    let mut hidden_gradients = Vec::new();
    let mut weight_gradient: Option<FloatTensor<B>> = None;
    for start in (0..rows).step_by(slice_rows) {
        let slice = [Slice::from(start..rows.min(start + slice_rows)), Slice::full()];
        let hidden = B::float_slice(hidden.clone(), &slice); // [n, D]
        let targets = B::int_slice(targets.clone(), &slice); // [n, 1]
        let factors = B::float_slice(factors.clone(), &slice); // [n, 1]

        let logits = B::float_matmul(hidden.clone(), B::float_transpose(weight.clone())); // [n, V]
        let max = B::float_max_dim(logits.clone(), 1); // [n, 1]
        let logits = B::float_sub(logits, max);
        let target_logits = B::float_gather(1, logits.clone(), targets.clone());
        let exps = B::float_exp(logits);
        let sums = B::float_sum_dim(exps.clone(), 1); // [n, 1]
        let nll = B::float_sub(B::float_log(sums.clone()), target_logits);
        losses.push(B::float_mul(nll, factors.clone()));
        if !want_hidden && !want_weight {
            continue;
        }

        let gradient = B::float_scatter(1, exps, targets, B::float_neg(sums.clone()), IndexingUpdateOp::Add); // [n, V]
        let factors = B::float_div(factors, sums);
        if want_hidden {
            let product = B::float_matmul(gradient.clone(), weight.clone());
            hidden_gradients.push(B::float_mul(product, factors.clone()));
        }
        if want_weight {
            let product = B::float_matmul(B::float_transpose(gradient), B::float_mul(hidden, factors));
            weight_gradient = Some(match weight_gradient {
                Some(sum) => B::float_add(sum, product),
                None => product,
            });
        }
    }

    let zeros = |shape| B::float_zeros(Shape::new(shape), &device, dtype);
    if losses.is_empty() {
        let loss = B::float_zeros(Shape::new([1]), &device, dtype);
        return (loss, want_hidden.then(|| zeros([0, width])), want_weight.then(|| zeros([vocabulary, width])));
    }
    let loss = B::float_sum(B::float_cat(losses, 0));
    (loss, want_hidden.then(|| B::float_cat(hidden_gradients, 0)), weight_gradient)
}
