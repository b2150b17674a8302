//! The loss on GPUs: a slice's logits are read by one kernel, which writes their gradient.

use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::{FloatDType, Shape, Slice};

use super::ops::{LinearCrossEntropyOps, LossAndGradients};
use super::padded::{SMALL, padded};
use crate::cast::cast;
use crate::fused;
use crate::gpu::{GpuOps, signed, tunes_f32};

/// Columns of the logits are a multiple of it, so that products read and write several at a time.
const ALIGNED: usize = 128;

impl LinearCrossEntropyOps for Cube {
    fn linear_cross_entropy_with_gradients(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        scale: f64,
        z_loss: f64,
        slice_rows: usize,
        wanted: [bool; 2],
    ) -> (FloatTensor<Self>, FloatTensor<Self>, Option<FloatTensor<Self>>, Option<FloatTensor<Self>>) {
        if fused() && hidden.shape().num_elements() > 0 && weight.shape().num_elements() > 0 {
            by_rows(hidden, weight, targets, scale, z_loss, slice_rows, wanted)
        } else {
            padded::<Self>(hidden, weight, targets, scale, z_loss, slice_rows, wanted)
        }
    }
}

/// Of one row at least. With p the probabilities of a row, l the logarithm of its normaliser and z the weight of the z-loss,
/// the gradient of its logits is `scale` ((1 + 2 z l) p - onehot). The bracket enters the products, the scale follows in f32.
fn by_rows(
    hidden: FloatTensor<Cube>,
    weight: FloatTensor<Cube>,
    targets: IntTensor<Cube>,
    scale: f64,
    z_loss: f64,
    slice_rows: usize,
    [want_hidden, want_weight]: [bool; 2],
) -> LossAndGradients<Cube> {
    let (device, products, dtype) = (hidden.device(), FloatDType::from(hidden.dtype()), FloatDType::F32);
    let ([rows, width], [vocabulary, _]) = (hidden.shape().dims(), weight.shape().dims());
    let added = match products == dtype && tunes_f32(&device) && vocabulary > SMALL {
        true => 0,
        false => vocabulary.next_multiple_of(ALIGNED) - vocabulary,
    };
    let weight = match added {
        0 => weight,
        _ => Cube::float_cat(vec![weight, Cube::float_zeros(Shape::new([added, width]), &device, products)], 0),
    };
    let targets = Cube::int_reshape(signed(targets), Shape::new([rows, 1]));
    let scaled = |x: FloatTensor<Cube>| Cube::float_mul_scalar(cast::<Cube>(x, dtype), scale.into());

    let (mut losses, mut squares, mut for_hidden) = (Vec::new(), Vec::new(), Vec::new());
    let mut for_weight: Option<FloatTensor<Cube>> = None;
    for start in (0..rows).step_by(slice_rows) {
        let slice = [Slice::from(start..rows.min(start + slice_rows)), Slice::full()];
        let hidden = Cube::float_slice(hidden.clone(), &slice); // [n, D]
        let targets = Cube::int_slice(targets.clone(), &slice); // [n, 1]
        let logits = Cube::gpu_product(hidden.clone(), Cube::float_transpose(weight.clone())); // [n, V]
        if !want_hidden && !want_weight {
            let (loss, square) = Cube::gpu_losses(logits, targets, vocabulary);
            losses.push(loss);
            squares.push(square);
            continue;
        }
        let (loss, square, gradient) = Cube::gpu_losses_with_gradient(logits, targets, vocabulary, z_loss);
        losses.push(loss);
        squares.push(square);
        if want_hidden {
            for_hidden.push(scaled(Cube::gpu_product(gradient.clone(), weight.clone())));
        }
        if want_weight {
            let product = scaled(Cube::gpu_product(Cube::float_transpose(gradient), hidden));
            for_weight = Some(match for_weight {
                Some(sum) => Cube::float_add(sum, product),
                None => product,
            });
        }
    }
    let total = |parts: Vec<FloatTensor<Cube>>, factor: f64| {
        // Of [n, 1]. burn would tune its sum.
        Cube::float_mul_scalar(Cube::gpu_column_sums(Cube::float_cat(parts, 0)), factor.into())
    };
    let nll = total(losses, scale);
    let loss = match z_loss == 0.0 {
        true => nll.clone(),
        false => Cube::float_add(nll.clone(), total(squares, scale * z_loss)),
    };
    let for_hidden = want_hidden.then(|| cast::<Cube>(Cube::float_cat(for_hidden, 0), products));
    let own = [Slice::from(0..vocabulary), Slice::full()];
    let for_weight = for_weight.map(|gradient| match added {
        0 => cast::<Cube>(gradient, products),
        _ => cast::<Cube>(Cube::float_slice(gradient, &own), products),
    });
    (loss, nll, for_hidden, for_weight)
}
