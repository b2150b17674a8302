use burn::tensor::{DType, Device, Tensor};
use contextlm_kernels::{linear, linear_int8, quantize_int8};

use crate::{assert_close, noise, values};

/// Inputs in groups of 64, 32 and 16; odd numbers of outputs; the last ones are several tasks.
const SIZES: [[usize; 2]; 6] = [[64, 1], [192, 5], [96, 33], [48, 7], [16, 3], [768, 1500]];

#[test]
fn products_are_those_of_the_rounded_weights() {
    let device = Device::flex();
    for [inputs, outputs] in SIZES {
        let weight = quantize_int8(noise(outputs, inputs, 1, &device)).unwrap();
        assert!(matches!(weight.dtype(), DType::QFloat(_)));
        let bias = noise(1, outputs, 2, &device).reshape([outputs]);
        let rounded = weight.clone().dequantize().transpose();
        for rows in [1, 2, 8, 9, 20] {
            let x = noise(rows, inputs, 3, &device);
            for bias in [None, Some(bias.clone())] {
                let expected = values(linear(x.clone(), rounded.clone(), bias.clone()));
                let found = linear_int8(x.clone(), weight.clone(), bias);
                assert_eq!(found.dims(), [rows, outputs]);
                assert_close(&format!("{rows} x {inputs} x {outputs}"), &values(found), &expected, 1e-5);
            }
        }
    }
}

/// A group is rounded to 127 steps of its own largest weight.
#[test]
fn weights_are_off_by_half_a_step_at_most() {
    let device = Device::flex();
    // Groups of very different sizes of numbers beside each other.
    let sizes = Tensor::<2>::from_floats([[1.0], [1e-4], [100.0]], &device);
    let weight = noise(3, 64, 1, &device) * sizes;
    let (rounded, weight) = (values(quantize_int8(weight.clone()).unwrap().dequantize()), values(weight));
    for (rounded, weight) in rounded.chunks(64).zip(weight.chunks(64)) {
        let step = weight.iter().fold(0.0f64, |largest, value| largest.max(value.abs())) / 127.0;
        assert!(rounded.iter().zip(weight).all(|(a, b)| (a - b).abs() <= 0.501 * step));
        assert!(rounded.iter().zip(weight).any(|(a, b)| a != b));
    }
}

#[test]
fn zeros_stay_zeros_and_ranks_are_kept() {
    let device = Device::flex();
    let weight = quantize_int8(Tensor::<2>::zeros([5, 32], &device)).unwrap();
    let found = linear_int8(noise(6, 32, 1, &device).reshape([2, 1, 3, 32]), weight, None);
    assert_eq!(found.dims(), [2, 1, 3, 5]);
    assert!(values(found).iter().all(|value| *value == 0.0));
}

#[test]
fn rows_do_not_depend_on_each_other() {
    let device = Device::flex();
    let weight = quantize_int8(noise(700, 768, 2, &device)).unwrap();
    let x = noise(8, 768, 1, &device);
    let all = values(linear_int8(x.clone(), weight.clone(), None));
    for row in 0..8 {
        let alone = values(linear_int8(x.clone().narrow(0, row, 1), weight.clone(), None));
        assert_eq!(alone, all[row * 700..(row + 1) * 700]);
    }
}

#[test]
fn what_has_no_groups_is_left() {
    let device = Device::flex();
    assert!(quantize_int8(noise(4, 24, 1, &device)).is_none());
    assert!(quantize_int8(noise(4, 64, 1, &device).cast(DType::BF16)).is_none());
    assert!(quantize_int8(Tensor::<2>::zeros([0, 64], &device)).is_none());
}

#[test]
#[should_panic(expected = "x has width 3, weight has 16 inputs")]
fn widths_must_fit() {
    let device = Device::flex();
    let _ = linear_int8(noise(2, 3, 1, &device), quantize_int8(noise(4, 16, 2, &device)).unwrap(), None);
}
