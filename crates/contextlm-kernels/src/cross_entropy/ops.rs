//! The extension trait of the loss, with its composed body.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata, backend_extension, get_or_init_device_settings};
use burn::tensor::{FloatDType, IndexingUpdateOp, Shape, Slice};

use super::IGNORE_INDEX;
use crate::cast::cast;

/// The loss, its cross-entropy alone, and the gradients of hidden states and weight where they were asked for.
pub(crate) type LossAndGradients<B> = (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>, Option<FloatTensor<B>>);

/// Linear layer and cross-entropy together. Shapes as in [`linear_cross_entropy`](super::linear_cross_entropy); `scale`
/// is one over the divisor, `z_loss` the weight of the squared log-normaliser, `slice_rows` is at least 1.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu")),
    LibTorch: cfg(feature = "libtorch"),
    Autodiff
)]
pub(crate) trait LinearCrossEntropyOps: Backend {
    /// The loss `[1]`, and its cross-entropy alone `[1]`, which has no gradient.
    #[allow(unused_variables)] // without a backend
    fn linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        scale: f64,
        z_loss: f64,
        slice_rows: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let none = [false; 2];
        let (loss, nll, ..) =
            Self::linear_cross_entropy_with_gradients(hidden, weight, targets, scale, z_loss, slice_rows, none);
        (loss, nll)
    }

    /// The same and, in the same pass, the gradients of the loss for hidden [N, D] and weight [V, D], where `wanted`.
    #[allow(unused_variables, clippy::type_complexity)] // the macro wants the types written out
    fn linear_cross_entropy_with_gradients(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        scale: f64,
        z_loss: f64,
        slice_rows: usize,
        wanted: [bool; 2],
    ) -> (FloatTensor<Self>, FloatTensor<Self>, Option<FloatTensor<Self>>, Option<FloatTensor<Self>>) {
        composed::<Self>(hidden, weight, targets, scale, z_loss, slice_rows, wanted)
    }

    /// A gradient [N, D] or [V, D] times the gradient `[1]` that reaches the loss.
    #[allow(unused_variables)]
    fn scaled_gradient(gradient: FloatTensor<Self>, upstream: FloatTensor<Self>) -> FloatTensor<Self> {
        scaled::<Self>(gradient, upstream)
    }
}

pub(super) fn scaled<B: Backend>(gradient: FloatTensor<B>, upstream: FloatTensor<B>) -> FloatTensor<B> {
    let upstream = B::float_reshape(upstream, Shape::new([1, 1]));
    let upstream = B::float_cast(upstream, gradient.dtype().into());
    B::float_mul(gradient, upstream)
}

/// The composed body, one slice of rows after another.
///
/// With m = max(logits), e = exp(logits - m) and s = sum(e) of a row, its loss is ln(s) - (logits[target] - m), and the
/// gradient of its logits is `scale` * (e / s - onehot) = `scale` / s * (e - s * onehot). The bracket is made in place of
/// `e` by one scattered addition a row, and the factor is applied to the narrow tensors of width D, never to [n, V].
///
/// Where the products are of bf16 or f16, what enters them is e / s - onehot, from -1 to 1, and the hidden states as they
/// are; the scale follows in f32. With the factors above, s * onehot could be too large for f16 and `scale` / s too small.
///
/// The z-loss adds z * l^2 to a row's loss, where l = m + ln(s) is the logarithm of its normaliser. The gradient of its
/// logits becomes `scale` * (a * e / s - onehot) with a = 1 + 2 z l: the same with s / a in place of s.
pub(super) fn composed<B: Backend>(
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    targets: IntTensor<B>,
    scale: f64,
    z_loss: f64,
    slice_rows: usize,
    wanted: [bool; 2],
) -> LossAndGradients<B> {
    composed_with::<B>(hidden, weight, targets, None, scale, z_loss, slice_rows, wanted)
}

/// [`composed`] with `bias` [1, V], f32, added to the logits of every row.
#[allow(clippy::too_many_arguments)]
pub(super) fn composed_with<B: Backend>(
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    targets: IntTensor<B>,
    bias: Option<FloatTensor<B>>,
    scale: f64,
    z_loss: f64,
    slice_rows: usize,
    [want_hidden, want_weight]: [bool; 2],
) -> LossAndGradients<B> {
    let (device, products, dtype) = (hidden.device(), hidden.dtype().into(), FloatDType::F32);
    let cast = cast::<B>;
    let [rows, width] = hidden.shape().dims();
    let [vocabulary, _] = weight.shape().dims();

    let ignored =
        B::int_equal_elem(targets.clone(), IGNORE_INDEX.into(), get_or_init_device_settings::<B>(&device).bool_dtype);
    let targets = B::int_mask_fill(targets, ignored.clone(), 0.into());
    let targets = B::int_reshape(targets, Shape::new([rows, 1]));
    let factors = B::float_mul_scalar(B::bool_into_float(B::bool_not(ignored), dtype), scale.into());
    let factors = B::float_reshape(factors, Shape::new([rows, 1])); // [N, 1], 0 where ignored

    let mut losses = Vec::new();
    let mut z_losses = Vec::new();
    let mut hidden_gradients = Vec::new();
    let mut weight_gradient: Option<FloatTensor<B>> = None;
    for start in (0..rows).step_by(slice_rows) {
        let slice = [Slice::from(start..rows.min(start + slice_rows)), Slice::full()];
        let hidden = B::float_slice(hidden.clone(), &slice); // [n, D]
        let targets = B::int_slice(targets.clone(), &slice); // [n, 1]
        let factors = B::float_slice(factors.clone(), &slice); // [n, 1]

        let logits = B::float_matmul(hidden.clone(), B::float_transpose(weight.clone())); // [n, V]
        let logits = cast(logits, dtype);
        let logits = match &bias {
            Some(bias) => B::float_add(logits, bias.clone()),
            None => logits,
        };
        let max = B::float_max_dim(logits.clone(), 1); // [n, 1]
        let logits = B::float_sub(logits, max.clone());
        let target_logits = B::float_gather(1, logits.clone(), targets.clone());
        let exps = B::float_exp(logits);
        let sums = B::float_sum_dim(exps.clone(), 1); // [n, 1]
        let log_sums = B::float_log(sums.clone());
        let nll = B::float_sub(log_sums.clone(), target_logits);
        losses.push(B::float_mul(nll, factors.clone()));
        let sums = if z_loss == 0.0 {
            sums
        } else {
            let z = B::float_add(max, log_sums); // [n, 1]
            let squares = B::float_mul(z.clone(), z.clone());
            z_losses.push(B::float_mul_scalar(B::float_mul(squares, factors.clone()), z_loss.into()));
            let a = B::float_add_scalar(B::float_mul_scalar(z, (2.0 * z_loss).into()), 1.0.into());
            B::float_div(sums, a)
        };
        if !want_hidden && !want_weight {
            continue;
        }

        let low = products != dtype;
        let (exps, sums) = match low {
            true => (B::float_div(exps, sums.clone()), B::float_ones(sums.shape(), &device, dtype)),
            false => (exps, sums),
        };
        let gradient = B::float_scatter(1, exps, targets, B::float_neg(sums.clone()), IndexingUpdateOp::Add); // [n, V]
        let gradient = cast(gradient, products);
        let factors = B::float_div(factors, sums);
        if want_hidden {
            let product = B::float_matmul(gradient.clone(), weight.clone());
            hidden_gradients.push(B::float_mul(cast(product, dtype), factors.clone()));
        }
        if want_weight {
            let factors = if low { B::float_sign(factors) } else { factors }; // 0 where ignored
            let scaled = cast(B::float_mul(cast(hidden, dtype), factors), products);
            let product = cast(B::float_matmul(B::float_transpose(gradient), scaled), dtype);
            let product = if low { B::float_mul_scalar(product, scale.into()) } else { product };
            weight_gradient = Some(match weight_gradient {
                Some(sum) => B::float_add(sum, product),
                None => product,
            });
        }
    }

    let zeros = |shape| B::float_zeros(Shape::new(shape), &device, dtype);
    if losses.is_empty() {
        let none = B::float_zeros(Shape::new([1]), &device, dtype);
        return (
            none.clone(),
            none,
            want_hidden.then(|| cast(zeros([0, width]), products)),
            want_weight.then(|| cast(zeros([vocabulary, width]), products)),
        );
    }
    let nll = B::float_sum(B::float_cat(losses, 0));
    let loss = match z_losses.is_empty() {
        true => nll.clone(),
        false => B::float_add(nll.clone(), B::float_sum(B::float_cat(z_losses, 0))),
    };
    let for_hidden = want_hidden.then(|| cast(B::float_cat(hidden_gradients, 0), products));
    (loss, nll, for_hidden, weight_gradient.map(|gradient| cast(gradient, products)))
}
