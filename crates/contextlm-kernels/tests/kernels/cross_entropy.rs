use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Int, Tensor};
use contextlm_kernels::{CrossEntropyOptions, IGNORE_INDEX, linear_cross_entropy, linear_cross_entropy_parts};

use crate::{assert_close, noise, targets, values};

/// Odd on purpose: no slice size below divides it.
const ROWS: usize = 37;
const WIDTH: usize = 24;
const VOCABULARY: usize = 101;

/// The same loss as burn's autodiff composes it, keeping [N, V].
fn reference(hidden: Tensor<2>, weight: Tensor<2>, targets: Tensor<1, Int>, divisor: f64) -> Tensor<1> {
    let ignored = targets.clone().equal_elem(IGNORE_INDEX);
    let index = targets.mask_fill(ignored.clone(), 0).unsqueeze_dim::<2>(1);
    let log_probabilities = log_softmax(hidden.matmul(weight.transpose()), 1);
    let nll = log_probabilities.gather(1, index).squeeze_dim::<1>(1).neg();
    nll.mask_fill(ignored, 0.0).sum().div_scalar(divisor)
}

fn ours(slice_rows: Option<usize>) -> impl Fn(Tensor<2>, Tensor<2>, Tensor<1, Int>, f64) -> Tensor<1> {
    move |hidden, weight, targets, divisor| {
        linear_cross_entropy(
            hidden,
            weight,
            targets,
            CrossEntropyOptions { divisor, slice_rows, ..CrossEntropyOptions::default() },
        )
    }
}

/// Every fifth row is ignored; the ends of the vocabulary occur.
fn some_targets() -> Vec<i64> {
    let row = |row: usize| if row % 5 == 2 { IGNORE_INDEX } else { (row * 50 % VOCABULARY) as i64 };
    let mut targets: Vec<i64> = (0..ROWS).map(row).collect();
    targets[0] = 0;
    targets[1] = VOCABULARY as i64 - 1;
    targets
}

struct Run {
    loss: Vec<f64>,
    hidden: Vec<f64>,
    weight: Vec<f64>,
}

/// Loss and both gradients under an upstream gradient of `upstream`.
fn run(
    loss: impl Fn(Tensor<2>, Tensor<2>, Tensor<1, Int>, f64) -> Tensor<1>,
    target_values: &[i64],
    divisor: f64,
    upstream: f64,
    device: &Device,
) -> Run {
    let hidden = noise(target_values.len(), WIDTH, 1, device).require_grad();
    let weight = noise(VOCABULARY, WIDTH, 2, device).require_grad();
    let loss = loss(hidden.clone(), weight.clone(), targets(target_values, device), divisor);
    let gradients = loss.clone().mul_scalar(upstream).backward();
    Run {
        loss: values(loss),
        hidden: values(hidden.grad(&gradients).unwrap()),
        weight: values(weight.grad(&gradients).unwrap()),
    }
}

fn assert_same(actual: &Run, expected: &Run, tolerance: f64) {
    assert_close("loss", &actual.loss, &expected.loss, tolerance);
    assert_close("hidden gradient", &actual.hidden, &expected.hidden, tolerance);
    assert_close("weight gradient", &actual.weight, &expected.weight, tolerance);
}

#[test]
fn value_and_gradients_are_those_of_log_softmax_and_gather() {
    for device in [Device::flex().autodiff(), Device::flex().autodiff().gradient_checkpointing()] {
        for (divisor, upstream) in [(1.0, 1.0), (29.0, 1.0), (29.0, -2.5)] {
            let expected = run(reference, &some_targets(), divisor, upstream, &device);
            assert_same(&run(ours(None), &some_targets(), divisor, upstream, &device), &expected, 1e-5);
            assert_same(&run(ours(Some(8)), &some_targets(), divisor, upstream, &device), &expected, 1e-5);
        }
    }
}

#[test]
fn the_z_loss_is_the_squared_log_normaliser() {
    const Z: f64 = 0.03; // large enough to show in every gradient
    let composed = |hidden: Tensor<2>, weight: Tensor<2>, targets: Tensor<1, Int>, divisor| {
        let ignored = targets.clone().equal_elem(IGNORE_INDEX);
        let logits = hidden.clone().matmul(weight.clone().transpose());
        let normaliser = logits.exp().sum_dim(1).log().squeeze_dim::<1>(1);
        let z = normaliser.square().mask_fill(ignored, 0.0).sum().mul_scalar(Z).div_scalar(divisor);
        reference(hidden, weight, targets, divisor) + z
    };
    let options = |divisor, slice_rows| CrossEntropyOptions { divisor, z_loss: Z, slice_rows };
    let device = Device::flex().autodiff();
    for (divisor, upstream) in [(1.0, 1.0), (29.0, -2.5)] {
        let expected = run(composed, &some_targets(), divisor, upstream, &device);
        for slice_rows in [None, Some(8)] {
            let ours = |hidden, weight, targets, divisor| {
                linear_cross_entropy(hidden, weight, targets, options(divisor, slice_rows))
            };
            assert_same(&run(ours, &some_targets(), divisor, upstream, &device), &expected, 1e-5);
        }
    }

    // The cross-entropy beside it is that without a z-loss, bit by bit.
    let input = || (noise(ROWS, WIDTH, 1, &device), noise(VOCABULARY, WIDTH, 2, &device));
    let ((hidden, weight), targets) = (input(), targets(&some_targets(), &device));
    let with = linear_cross_entropy_parts(hidden, weight, targets.clone(), options(29.0, None));
    let (hidden, weight) = input();
    let without = CrossEntropyOptions { z_loss: 0.0, ..options(29.0, None) };
    let without = linear_cross_entropy(hidden, weight, targets, without);
    assert_eq!(values(with.cross_entropy), values(without.clone()));
    assert!(values(with.total)[0] > values(without)[0] + 0.01);
}

#[test]
fn every_slice_size_gives_the_same() {
    let device = Device::flex().autodiff();
    let whole = run(ours(Some(ROWS)), &some_targets(), 29.0, 1.0, &device);
    for slice_rows in [1, 2, 7, 36, 38, 1000] {
        assert_same(&run(ours(Some(slice_rows)), &some_targets(), 29.0, 1.0, &device), &whole, 1e-6);
    }
}

#[test]
fn ignored_rows_get_no_gradient_and_do_not_change_the_others() {
    let device = Device::flex().autodiff();
    let with = run(ours(Some(8)), &some_targets(), 1.0, 1.0, &device);
    for (row, target) in some_targets().into_iter().enumerate() {
        let gradient = &with.hidden[row * WIDTH..(row + 1) * WIDTH];
        assert_eq!(gradient.iter().all(|value| *value == 0.0), target == IGNORE_INDEX, "row {row}");
    }

    // The rows that are kept, run alone, make the same loss.
    let kept: Vec<i64> = (0..ROWS as i64).filter(|row| some_targets()[*row as usize] != IGNORE_INDEX).collect();
    let kept_targets: Vec<i64> = kept.iter().map(|row| some_targets()[*row as usize]).collect();
    let hidden = noise(ROWS, WIDTH, 1, &device).select(0, targets(&kept, &device));
    let weight = noise(VOCABULARY, WIDTH, 2, &device);
    let alone = linear_cross_entropy(hidden, weight, targets(&kept_targets, &device), CrossEntropyOptions::default());
    assert_close("loss", &with.loss, &values(alone), 1e-6);
}

#[test]
fn all_rows_ignored_is_zero_whatever_the_divisor() {
    let device = Device::flex().autodiff();
    for divisor in [0.0, 1.0, 37.0] {
        let run = run(ours(Some(8)), &[IGNORE_INDEX; ROWS], divisor, 1.0, &device);
        assert_eq!(run.loss, [0.0]);
        assert!(run.hidden.iter().chain(&run.weight).all(|value| *value == 0.0));
    }
}

#[test]
fn no_rows_is_zero() {
    let device = Device::flex().autodiff();
    let run = run(ours(None), &[], 1.0, 1.0, &device);
    assert_eq!(run.loss, [0.0]);
    assert!(run.hidden.is_empty());
    assert_eq!(run.weight, vec![0.0; VOCABULARY * WIDTH]);
}

#[test]
fn one_tracked_input_gets_its_gradient_and_the_other_none() {
    let device = Device::flex().autodiff();
    let expected = run(reference, &some_targets(), 29.0, 1.0, &device);
    for hidden_tracked in [true, false] {
        let (hidden, weight) = (noise(ROWS, WIDTH, 1, &device), noise(VOCABULARY, WIDTH, 2, &device));
        let (hidden, weight) =
            if hidden_tracked { (hidden.require_grad(), weight) } else { (hidden, weight.require_grad()) };
        let loss = ours(Some(8))(hidden.clone(), weight.clone(), targets(&some_targets(), &device), 29.0);
        let gradients = loss.backward();
        assert_eq!(hidden.grad(&gradients).is_some(), hidden_tracked);
        assert_eq!(weight.grad(&gradients).is_some(), !hidden_tracked);
        match hidden_tracked {
            true => assert_close("hidden", &values(hidden.grad(&gradients).unwrap()), &expected.hidden, 1e-5),
            false => assert_close("weight", &values(weight.grad(&gradients).unwrap()), &expected.weight, 1e-5),
        }
    }
}

#[test]
fn without_gradients_the_value_is_the_same() {
    let plain = Device::flex();
    let loss = |device: &Device| {
        let (hidden, weight) = (noise(ROWS, WIDTH, 1, device), noise(VOCABULARY, WIDTH, 2, device));
        values(ours(Some(8))(hidden, weight, targets(&some_targets(), device), 29.0))
    };
    let tracked = run(ours(Some(8)), &some_targets(), 29.0, 1.0, &plain.clone().autodiff());
    assert_eq!(loss(&plain), tracked.loss);
    assert_eq!(loss(&plain.autodiff()), tracked.loss);
}

#[test]
fn a_tied_weight_gets_the_sum_of_both_gradients() {
    let device = Device::flex().autodiff();
    let tokens: Vec<i64> = (0..ROWS as i64).map(|row| row * 3 % VOCABULARY as i64).collect();
    // The hidden states come from the embedding of the tokens, which is the head too.
    let gradient = |loss: &dyn Fn(Tensor<2>, Tensor<2>, Tensor<1, Int>, f64) -> Tensor<1>| {
        let weight = noise(VOCABULARY, WIDTH, 2, &device).require_grad();
        let hidden = weight.clone().select(0, targets(&tokens, &device)).tanh();
        let loss = loss(hidden, weight.clone(), targets(&some_targets(), &device), 29.0);
        values(weight.grad(&loss.backward()).unwrap())
    };
    assert_close("tied weight", &gradient(&ours(Some(8))), &gradient(&reference), 1e-5);
}

#[test]
fn logits_of_any_size_stay_finite() {
    let device = Device::flex().autodiff();
    for size in [1e-20, 1e3, 1e15] {
        let hidden = noise(ROWS, WIDTH, 1, &device).mul_scalar(size).require_grad();
        let weight = noise(VOCABULARY, WIDTH, 2, &device).require_grad();
        let loss = ours(None)(hidden.clone(), weight.clone(), targets(&some_targets(), &device), 29.0);
        let gradients = loss.clone().backward();
        let reference = reference(hidden.clone(), weight.clone(), targets(&some_targets(), &device), 29.0);
        assert_close("loss", &values(loss), &values(reference), 1e-5);
        assert!(values(hidden.grad(&gradients).unwrap()).iter().all(|value| value.is_finite()));
        assert!(values(weight.grad(&gradients).unwrap()).iter().all(|value| value.is_finite()));
    }
}

#[test]
#[should_panic(expected = "hidden has width 24, weight has 23")]
fn widths_must_agree() {
    let device = Device::flex();
    let weight = noise(VOCABULARY, WIDTH - 1, 2, &device);
    ours(None)(noise(ROWS, WIDTH, 1, &device), weight, targets(&some_targets(), &device), 1.0);
}

/// Over 70,001 almost equal logits the sum of exponentials is too large for f16, and the scale over that sum too small.
#[test]
fn halves_neither_overflow_nor_vanish() {
    let device = Device::flex().autodiff();
    let target_values: Vec<i64> = vec![0, 70_000, IGNORE_INDEX, 7, 7];
    for (dtype, tolerance) in [(DType::F16, 1e-2), (DType::BF16, 2e-2)] {
        let run = |loss: &dyn Fn(Tensor<2>, Tensor<2>, Tensor<1, Int>, f64) -> Tensor<1>, dtypes: [DType; 2]| {
            let of = |tensor: Tensor<2>| dtypes.into_iter().fold(tensor * 0.1, Tensor::<2>::cast).require_grad();
            let (hidden, weight) =
                (of(noise(target_values.len(), WIDTH, 1, &device)), of(noise(70_001, WIDTH, 2, &device)));
            let loss = loss(hidden.clone(), weight.clone(), targets(&target_values, &device), 64.0);
            let gradients = loss.clone().backward();
            let gradient = |of: Tensor<2>| values(of.grad(&gradients).unwrap().cast(DType::F32));
            Run { loss: values(loss), hidden: gradient(hidden), weight: gradient(weight) }
        };
        let expected = run(&reference, [dtype, DType::F32]);
        assert_same(&run(&ours(Some(2)), [dtype; 2]), &expected, tolerance);
    }
}
