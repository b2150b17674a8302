//! The norms' composed bodies.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

pub(super) fn rms_norm<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>, eps: f64) -> FloatTensor<B> {
    let scale = inverse_root::<B>(x.clone(), eps);
    let weight = as_row::<B>(weight, x.shape().num_dims());
    B::float_mul(B::float_mul(x, scale), weight)
}

/// Gradients of x, weight and bias.
pub(super) fn layer_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    upstream: FloatTensor<B>,
    eps: f64,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let for_bias = sum_of_rows::<B>(upstream.clone());
    let (for_x, for_weight) = gradients::<B>(x, weight, upstream, eps, true);
    (for_x, for_weight, for_bias)
}

/// Gradients of x and weight. With n = x - mean over its deviation (the mean being 0 in RMS norm) and g = upstream *
/// weight, that of x is (g - mean(g) - n mean(g n)) / deviation, without mean(g) in RMS norm; that of weight is the sum
/// of upstream * n over the rows.
pub(super) fn gradients<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    upstream: FloatTensor<B>,
    eps: f64,
    centred: bool,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let rank = x.shape().num_dims();
    let centre = |x: FloatTensor<B>| match centred {
        true => B::float_sub(x.clone(), B::float_mean_dim(x, rank - 1)),
        false => x,
    };
    let x = centre(x);
    let scale = inverse_root::<B>(x.clone(), eps);
    let n = B::float_mul(x, scale.clone());
    let for_weight = sum_of_rows::<B>(B::float_mul(upstream.clone(), n.clone()));
    let g = B::float_mul(upstream, as_row::<B>(weight, rank));
    let along = B::float_mean_dim(B::float_mul(g.clone(), n.clone()), rank - 1);
    let for_x = B::float_mul(B::float_sub(centre(g), B::float_mul(n, along)), scale);
    (for_x, for_weight)
}

/// 1 / sqrt(mean(x^2) + eps) of every row, `[..., 1]`.
fn inverse_root<B: Backend>(x: FloatTensor<B>, eps: f64) -> FloatTensor<B> {
    let last = x.shape().num_dims() - 1;
    let mean_square = B::float_mean_dim(B::float_mul(x.clone(), x), last);
    B::float_recip(B::float_sqrt(B::float_add_scalar(mean_square, eps.into())))
}

/// `[D]` as `[1, ..., D]`.
fn as_row<B: Backend>(weight: FloatTensor<B>, rank: usize) -> FloatTensor<B> {
    let mut dims = vec![1; rank];
    dims[rank - 1] = weight.shape().num_elements();
    B::float_reshape(weight, Shape::from(dims))
}

/// `[..., D]` to `[D]`.
fn sum_of_rows<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let width = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / width.max(1);
    let sum = B::float_sum_dim(B::float_reshape(x, Shape::new([rows, width])), 0);
    B::float_reshape(sum, Shape::new([width]))
}
