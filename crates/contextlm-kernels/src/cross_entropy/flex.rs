//! The loss on flex: the logits of a slice become the gradient of the loss in one pass, in place, and both gradients are
//! written, or added up, where they belong by the matrix products themselves.

use burn::backend::tensor::IntTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{DType, Shape};

use super::ops::{LinearCrossEntropyOps, LossAndGradients, composed, scaled};
use super::slices::softmax;
use crate::flex::product::{Matrix, large_product};
use crate::flex::tensor::{FlexTensor, all_f32, contiguous, tensor, values};
use crate::fused;
use crate::slices::parallel::map;

impl LinearCrossEntropyOps for Flex {
    fn linear_cross_entropy_with_gradients(
        hidden: FlexTensor,
        weight: FlexTensor,
        targets: IntTensor<Self>,
        scale: f64,
        z_loss: f64,
        slice_rows: usize,
        wanted: [bool; 2],
    ) -> (FlexTensor, FlexTensor, Option<FlexTensor>, Option<FlexTensor>) {
        body(hidden, weight, targets, scale, z_loss, slice_rows, wanted)
    }

    /// Burn's own multiplication by one element runs on one thread, and mostly the element is 1.
    fn scaled_gradient(gradient: FlexTensor, upstream: FlexTensor) -> FlexTensor {
        if !fused() || !all_f32([&gradient, &upstream]) {
            return scaled::<Flex>(gradient, upstream);
        }
        match *values(&contiguous(upstream)) {
            [1.0] => gradient,
            [factor] => {
                let shape = gradient.shape();
                let gradient = contiguous(gradient);
                let mut scaled = vec![0.0; values(&gradient).len()];
                map(
                    &mut scaled,
                    values(&gradient),
                    #[inline(always)]
                    |value| value * factor,
                );
                tensor(scaled, shape)
            }
            _ => unreachable!("the loss is one element"),
        }
    }
}

fn body(
    hidden: FlexTensor,
    weight: FlexTensor,
    targets: IntTensor<Flex>,
    scale: f64,
    z_loss: f64,
    slice_rows: usize,
    wanted: [bool; 2],
) -> LossAndGradients<Flex> {
    match (fused() && all_f32([&hidden, &weight]), indices(&targets)) {
        (true, Some(targets)) => in_place(hidden, weight, &targets, scale, z_loss, slice_rows, wanted),
        _ => composed::<Flex>(hidden, weight, targets, scale, z_loss, slice_rows, wanted),
    }
}

/// The targets as i64.
fn indices(targets: &IntTensor<Flex>) -> Option<Vec<i64>> {
    let targets = contiguous(targets.clone());
    match targets.dtype() {
        DType::I64 => targets.as_slice::<i64>().map(<[i64]>::to_vec),
        DType::I32 => targets.as_slice::<i32>().map(|values| values.iter().map(|&value| value.into()).collect()),
        _ => None,
    }
}

fn in_place(
    hidden: FlexTensor,
    weight: FlexTensor,
    targets: &[i64],
    scale: f64,
    z_loss: f64,
    slice_rows: usize,
    [want_hidden, want_weight]: [bool; 2],
) -> LossAndGradients<Flex> {
    let [vocabulary, width] = weight.shape().dims();
    let (hidden, weight) = (contiguous(hidden), contiguous(weight));
    let (hidden_shape, weight_shape) = (hidden.shape(), weight.shape());
    let (hidden, weight) = (values(&hidden), Matrix::new(values(&weight), vocabulary, width, width));
    let mut for_hidden = want_hidden.then(|| vec![0.0; hidden.len()]);
    let mut for_weight = want_weight.then(|| vec![0.0; vocabulary * width]);
    let mut logits = vec![0.0; slice_rows.min(targets.len()) * vocabulary];
    let (mut nll, mut z) = (0.0, 0.0);
    for (number, targets) in targets.chunks(slice_rows).enumerate() {
        let (rows, start) = (targets.len(), number * slice_rows);
        let hidden = Matrix::new(&hidden[start * width..], rows, width, width);
        let logits = &mut logits[..rows * vocabulary];
        large_product(logits, vocabulary, hidden, weight.transposed(), 1.0, false);
        let losses = softmax(logits, vocabulary, targets, [scale as f32, z_loss as f32], want_hidden || want_weight);
        for [of_target, of_z] in losses {
            nll += f64::from(of_target);
            z += f64::from(of_z);
        }
        let gradient = Matrix::new(logits, rows, vocabulary, vocabulary);
        if let Some(for_hidden) = &mut for_hidden {
            large_product(&mut for_hidden[start * width..], width, gradient, weight, 1.0, false);
        }
        if let Some(for_weight) = &mut for_weight {
            large_product(for_weight, width, gradient.transposed(), hidden, 1.0, number > 0);
        }
    }
    let single = |value: f64| tensor(vec![value as f32], Shape::new([1]));
    (
        single(nll + z),
        single(nll),
        for_hidden.map(|gradient| tensor(gradient, hidden_shape)),
        for_weight.map(|gradient| tensor(gradient, weight_shape)),
    )
}
