//! The loss on LibTorch's GPUs: a log-softmax and an exponential are all that goes over the logits, and nothing waits for the
//! device.

use burn::backend::LibTorch;
use tch::{Kind, Tensor};

use super::IGNORE_INDEX;
use super::libtorch::{Loss, WeightGradient};
use super::ops::LossAndGradients;
use crate::libtorch::TorchTensor;

/// What a vocabulary is made a multiple of: with an odd number of logits in a row, cuBLAS takes kernels that are three times
/// slower (GPT-2's 50257 on an H100, docs/src/cuda.md).
const ALIGNED: i64 = 64;

/// With p = softmax(logits) of a row, its loss is -ln(p[target]) and the gradient of its logits `scale` (p - onehot), or with the
/// z-loss z l^2, where l is the logarithm of its normaliser, `scale` ((1 + 2 z l) p - onehot). The factors are applied where
/// there are D numbers a row and not V; where products are of bf16 or f16, as in `composed`, those of the weight's gradient
/// behind the product. Logits that are added for the alignment are minus infinity, so that their p is 0.
///
/// - targets: `[N]`, i64
pub(super) fn on_device(loss: &Loss, targets: &Tensor) -> LossAndGradients<LibTorch> {
    let Loss { hidden, weight, scale, z_loss, slice_rows, wanted: [want_hidden, want_weight] } = loss;
    let (kind, device, rows) = (hidden.kind(), hidden.device(), targets.size()[0]);
    let low = kind != Kind::Float;
    let vocabulary = weight.size()[0];
    let added = (vocabulary as u64).next_multiple_of(ALIGNED as u64) as i64 - vocabulary;
    let aligned = match added {
        0 => weight.shallow_clone(),
        _ => Tensor::cat(&[weight, &Tensor::zeros([added, weight.size()[1]], (kind, device))], 0),
    };
    let known = targets.not_equal(IGNORE_INDEX);
    let targets = (targets * &known).unsqueeze(1); // [N, 1], 0 where ignored
    let known = known.to_kind(Kind::Float).unsqueeze(1); // [N, 1], 0 where ignored, else 1
    let mut nll = Tensor::zeros([1], (Kind::Float, device));
    let mut z_losses = Tensor::zeros([1], (Kind::Float, device));
    let for_hidden = want_hidden.then(|| Tensor::empty(hidden.size(), (kind, device)));
    let mut for_weight = want_weight.then(WeightGradient::new);
    for start in (0..rows).step_by(*slice_rows) {
        let count = rows.min(start + *slice_rows as i64) - start;
        let [hidden, targets, known] = [hidden, &targets, &known].map(|all| all.narrow(0, start, count));
        let logits = hidden.mm(&aligned.tr()); // [n, V and what is added]
        let _ = logits.narrow(1, vocabulary, added).fill_(f64::NEG_INFINITY);
        let of_target = logits.gather(1, &targets, false).to_kind(Kind::Float); // [n, 1]
        let mut all = logits.log_softmax(1, Kind::Float);
        drop(logits);
        let log_p = all.gather(1, &targets, false); // [n, 1]
        let normaliser = of_target - &log_p;
        let _ = nll.g_sub_(&(&log_p * &known).sum(Kind::Float));
        if *z_loss != 0.0 {
            let _ = z_losses.g_add_(&(normaliser.square() * &known).sum(Kind::Float));
        }
        if !want_hidden && !want_weight {
            continue;
        }
        let gradient = if low && *z_loss == 0.0 {
            // One pass to the lower type, and what belongs to the targets from f32: p - 1 would be rounded where p is near 1.
            let all_p = Tensor::empty(all.size(), (kind, device));
            let _ = all.exp_out(&all_p);
            drop(all);
            written_at(all_p, &targets, &(log_p.exp() - &known))
        } else {
            let _ = all.exp_();
            if *z_loss != 0.0 {
                let _ = all.g_mul_(&(normaliser * (2.0 * z_loss) + 1.0));
            }
            let _ = all.scatter_add_(1, &targets, &known.neg());
            all.to_kind(kind)
        };
        let factors = &known * *scale;
        if let Some(for_hidden) = &for_hidden {
            let product = gradient.mm(&aligned);
            for_hidden.narrow(0, start, count).copy_(&(product * &factors));
        }
        if let Some(for_weight) = &mut for_weight {
            for_weight.add(&gradient, &(hidden * if low { known } else { factors }).to_kind(kind));
        }
    }
    let nll = nll * *scale;
    let total = &nll + z_losses * (*scale * *z_loss);
    (
        TorchTensor::new(total),
        TorchTensor::new(nll),
        for_hidden.map(TorchTensor::new),
        for_weight.map(|sum| {
            let all = sum.finish(if low { *scale } else { 1.0 }, &aligned);
            TorchTensor::new(all.narrow(0, 0, vocabulary))
        }),
    )
}

/// [n, V] with `values` [n, 1] at the targets.
fn written_at(mut all: Tensor, targets: &Tensor, values: &Tensor) -> Tensor {
    let _ = all.scatter_(1, targets, &values.to_kind(all.kind()));
    all
}

#[cfg(test)]
mod tests {
    use burn::backend::tensor::IntTensor;
    use tch::Device;

    use super::super::ops::composed;
    use super::*;

    /// What runs on GPUs runs on the CPU here, beside the composed form in f32 on the same rounded inputs.
    #[test]
    fn on_the_device_it_is_the_composed_loss() {
        let wave = |shape: [i64; 2], phase: f64, kind: Kind| {
            let count = (Tensor::arange(shape[0] * shape[1], (Kind::Float, Device::Cpu)) * 0.7 + phase).sin();
            (count * 2.0).reshape(shape).to_kind(kind)
        };
        let cases = [(Kind::Float, 1e-5), (Kind::BFloat16, 2e-2), (Kind::Half, 2e-2)];
        for ((kind, tolerance), z_loss) in cases.into_iter().flat_map(|case| [(case, 0.0), (case, 0.01)]) {
            for targets in [&[3i64, 66, -100, 0, 41][..], &[5], &[-100, -100], &[]] {
                let targets = Tensor::from_slice(targets);
                let (rows, scale, slice_rows, wanted) = (targets.size()[0], 0.25, 2, [true; 2]);
                let (hidden, weight) = (wave([rows, 8], 0.0, kind), wave([67, 8], 1.0, kind));
                let [low_hidden, low_weight] = [&hidden, &weight].map(|x| TorchTensor::new(x.to_kind(Kind::Float)));
                let of = IntTensor::<LibTorch>::new(targets.copy());
                let expected = composed::<LibTorch>(low_hidden, low_weight, of, scale, z_loss, slice_rows, wanted);
                let found = on_device(&Loss { hidden, weight, scale, z_loss, slice_rows, wanted }, &targets);
                let all = |(loss, nll, hidden, weight): LossAndGradients<LibTorch>| {
                    [Some(loss), Some(nll), hidden, weight].map(|x| x.map(|x| x.tensor))
                };
                for (found, expected) in all(found).into_iter().zip(all(expected)) {
                    let (Some(found), Some(expected)) = (found, expected) else { panic!("a gradient is missing") };
                    assert_eq!(found.size(), expected.size());
                    let norm = |x: &Tensor| x.square().sum(Kind::Double).sqrt().double_value(&[]);
                    let off = norm(&(found.to_kind(Kind::Float) - &expected));
                    assert!(off <= tolerance * norm(&expected), "{kind:?}, {rows} rows, z {z_loss}: off by {off:e}");
                }
            }
        }
    }
}
