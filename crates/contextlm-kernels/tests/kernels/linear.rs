use burn::tensor::{DType, Device, Tensor};
use contextlm_kernels::linear;

use crate::{assert_close, noise, values};

/// x W + b, one product after another.
fn expected(x: &Tensor<2>, weight: &Tensor<2>, bias: Option<&Tensor<1>>) -> Vec<f64> {
    let ([rows, inputs], [_, outputs]) = (x.dims(), weight.dims());
    let (x, weight) = (values(x.clone()), values(weight.clone()));
    let bias = bias.map_or(vec![0.0; outputs], |bias| values(bias.clone()));
    let dot = |row: usize, column: usize| -> f64 {
        (0..inputs).map(|i| x[row * inputs + i] * weight[i * outputs + column]).sum()
    };
    let places = (0..rows).flat_map(|row| (0..outputs).map(move |column| (row, column)));
    places.map(|(row, column)| dot(row, column) + bias[column]).collect()
}

/// Sizes around those of vectors, groups, tiles and tasks; the last ones are several tasks.
const SIZES: [[usize; 2]; 9] =
    [[1, 3], [7, 5], [8, 16], [9, 33], [17, 2], [1, 40], [64, 1100], [300, 1500], [1500, 300]];

#[test]
fn few_rows_and_many_in_both_orders() {
    let device = Device::flex();
    for [inputs, outputs] in SIZES {
        let weight = noise(inputs, outputs, 1, &device);
        let turned = weight.clone().transpose().mul_scalar(1.0); // the same numbers in the other order of memory
        let bias = noise(1, outputs, 2, &device).reshape([outputs]);
        for rows in [1, 2, 3, 8, 9, 20] {
            let what = format!("{rows} x {inputs} x {outputs}");
            let x = noise(rows, inputs, 3, &device);
            for bias in [None, Some(bias.clone())] {
                let expected = expected(&x, &weight, bias.as_ref());
                for weight in [weight.clone(), turned.clone().transpose()] {
                    let found = linear(x.clone(), weight, bias.clone());
                    assert_eq!(found.dims(), [rows, outputs]);
                    assert_close(&what, &values(found), &expected, 1e-5);
                }
            }
        }
    }
}

#[test]
fn views_are_read_where_they_lie() {
    let device = Device::flex();
    let (x, weight, bias) = (noise(5, 40, 1, &device), noise(50, 60, 2, &device), noise(2, 60, 3, &device));
    for (x, weight, bias) in [
        (x.clone().narrow(0, 2, 2).narrow(1, 10, 20), weight.clone().narrow(0, 20, 20), bias.clone().narrow(0, 1, 1)),
        (x.clone().narrow(1, 1, 20), weight.clone().narrow(1, 7, 30).narrow(0, 3, 20), bias.clone().narrow(1, 9, 30)),
        (
            x.clone().narrow(1, 5, 30),
            weight.clone().transpose().narrow(0, 8, 30).narrow(1, 1, 40),
            bias.narrow(1, 20, 40),
        ),
        (
            x.clone().slice([0..5, 0..40]).transpose().narrow(1, 1, 3).transpose(),
            weight.narrow(0, 0, 40),
            noise(1, 60, 4, &device),
        ),
    ] {
        let bias = bias.narrow(0, 0, 1).squeeze_dim::<1>(0);
        let expected = expected(&x, &weight, Some(&bias));
        assert_close("view", &values(linear(x, weight, Some(bias))), &expected, 1e-5);
    }
}

#[test]
fn any_rank_keeps_its_leading_dimensions() {
    let device = Device::flex();
    let (x, weight) = (noise(6, 12, 1, &device), noise(12, 7, 2, &device));
    let flat = values(linear(x.clone(), weight.clone(), None));
    let deep = linear(x.clone().reshape([2, 1, 3, 12]), weight.clone(), None);
    assert_eq!(deep.dims(), [2, 1, 3, 7]);
    assert_eq!(values(deep), flat);
    let one = linear(x.narrow(0, 0, 1).reshape([12]), weight, None);
    assert_eq!(values(one), flat[..7]);
}

/// Each row is summed in the same order, whatever rows are beside it.
#[test]
fn a_row_does_not_depend_on_the_others() {
    let device = Device::flex();
    let (x, weight) = (noise(8, 1500, 1, &device), noise(1500, 700, 2, &device));
    for weight in [weight.clone(), weight.transpose().mul_scalar(1.0).transpose()] {
        let all = values(linear(x.clone(), weight.clone(), None));
        for row in 0..8 {
            let alone = values(linear(x.clone().narrow(0, row, 1), weight.clone(), None));
            assert_eq!(alone, all[row * 700..(row + 1) * 700]);
        }
    }
}

#[test]
fn half_precision_weights_are_multiplied_in_f32() {
    let device = Device::flex();
    for (dtype, tolerance) in [(DType::BF16, 4e-3), (DType::F16, 5e-4)] {
        for [inputs, outputs] in SIZES {
            let cast = |rows, columns, seed| noise(rows, columns, seed, &device).cast(dtype);
            let (x, weight, bias) = (cast(3, inputs, 1), cast(inputs, outputs, 2), cast(1, outputs, 3));
            let bias = bias.reshape([outputs]);
            let expected = expected(&x, &weight, Some(&bias));
            let turned = weight.clone().transpose().add_scalar(0.0).transpose();
            for weight in [weight, turned] {
                let found = linear(x.clone(), weight, Some(bias.clone()));
                assert_eq!(found.dtype(), dtype);
                assert_close("half", &values(found), &expected, tolerance);
            }
        }
    }
}

#[test]
fn gradients_are_those_of_burn() {
    let device = Device::flex().autodiff();
    let noise = |rows, columns, seed| noise(rows, columns, seed, &device).require_grad();
    let (x, weight, bias) = (noise(3, 10, 1), noise(10, 4, 2), noise(1, 4, 3));
    let gradients = |y: Tensor<2>| {
        let gradients = (y.clone() * y).sum().backward();
        [&x, &weight, &bias].map(|of| values(of.grad(&gradients).unwrap()))
    };
    let ours = linear(x.clone(), weight.clone(), Some(bias.clone().squeeze_dim::<1>(0)));
    let burns = x.clone().matmul(weight.clone()) + bias.clone();
    for (found, expected) in gradients(ours).into_iter().zip(gradients(burns)) {
        assert_close("gradient", &found, &expected, 1e-6);
    }
}

#[test]
#[should_panic(expected = "x has width 3, weight has 4 inputs")]
fn widths_must_fit() {
    let device = Device::flex();
    let _ = linear(noise(2, 3, 1, &device), noise(4, 5, 2, &device), None);
}
