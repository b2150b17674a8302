//! The composed body for GPUs, where fused operations are off: small vocabularies are made longer.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{FloatDType, Shape, Slice};

use super::ops::{LossAndGradients, composed, composed_with};

/// What a small vocabulary is made a multiple of.
const ALIGNED: usize = 64;

/// Larger vocabularies stay as they are: with GPT-2's 50257 made longer, tuning the kernels of the first step took longer than
/// without (docs/src/cuda.md).
pub(super) const SMALL: usize = 32768;

/// [`composed`] with rows added to the weight of a small vocabulary up to a multiple of 64, and their logits masked. On an H100,
/// models with a tied head and 23 tokens did not agree with flex without it.
pub(super) fn padded<B: Backend>(
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    targets: IntTensor<B>,
    scale: f64,
    z_loss: f64,
    slice_rows: usize,
    wanted: [bool; 2],
) -> LossAndGradients<B> {
    /// Its `exp` is 0.
    const MASKED: f64 = -1e30;
    let (device, dtype) = (weight.device(), FloatDType::from(weight.dtype()));
    let [vocabulary, width] = weight.shape().dims();
    let added = vocabulary.next_multiple_of(ALIGNED) - vocabulary;
    if added == 0 || vocabulary > SMALL {
        return composed::<B>(hidden, weight, targets, scale, z_loss, slice_rows, wanted);
    }
    let zeros = |shape, dtype| B::float_zeros(Shape::new(shape), &device, dtype);
    let weight = B::float_cat(vec![weight, zeros([added, width], dtype)], 0);
    let masked = B::float_add_scalar(zeros([1, added], FloatDType::F32), MASKED.into());
    let bias = Some(B::float_cat(vec![zeros([1, vocabulary], FloatDType::F32), masked], 1));
    let (loss, nll, for_hidden, for_weight) =
        composed_with::<B>(hidden, weight, targets, bias, scale, z_loss, slice_rows, wanted);
    let own = [Slice::from(0..vocabulary), Slice::full()];
    (loss, nll, for_hidden, for_weight.map(|gradient| B::float_slice(gradient, &own)))
}

#[cfg(all(test, feature = "flex"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::backend::Flex;
    use burn::backend::ops::{FloatTensorOps, IntTensorOps};
    use burn::tensor::TensorData;

    use super::*;

    /// CubeCL runs the padded body; here it runs on flex.
    #[test]
    fn padding_changes_nothing() {
        let wave = |shape: [usize; 2], phase: f32| {
            let values = (0..shape[0] * shape[1]).map(|i| (i as f32 * 0.7 + phase).sin()).collect::<Vec<_>>();
            Flex::float_from_data(TensorData::new(values, shape), &Default::default())
        };
        let targets = || Flex::int_from_data(TensorData::new(vec![3i64, 66, -100, 0, 41], [5]), &Default::default());
        let run = |body: fn(_, _, _, _, _, _, _) -> LossAndGradients<Flex>| {
            let (loss, nll, hidden, weight) =
                body(wave([5, 8], 0.0), wave([67, 8], 1.0), targets(), 0.25, 0.01, 2, [true; 2]);
            let weight = weight.unwrap();
            assert_eq!(weight.shape().dims(), [67, 8]);
            [loss, nll, hidden.unwrap(), weight].map(|tensor| tensor.into_data().iter::<f32>().collect::<Vec<_>>())
        };
        let (expected, found) = (run(composed::<Flex>), run(padded::<Flex>));
        for (expected, found) in expected.iter().zip(&found) {
            assert!(expected.iter().any(|value| *value != 0.0));
            assert!(
                expected.iter().zip(found).all(|(a, b)| (a - b).abs() <= 1e-6),
                "{found:?} instead of {expected:?}"
            );
        }
    }
}
