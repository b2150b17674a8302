//! Every operation in bf16 against itself in f32 on the same rounded inputs: 2e-2, as L2 norms.

use burn::tensor::{DType, Int, Tensor};
use contextlm_kernels::{
    CrossEntropyOptions, KeyRanges, QkvOrder, attention, attention_of_projection, gelu, gelu_tanh, layer_norm, linear,
    linear_cross_entropy, rms_norm, rotary, swiglu,
};

use crate::{assert_near, devices, noise, values};

/// An operation on inputs [rows, columns], with the shapes that it wants.
type Operation = fn(&[Tensor<2>]) -> Tensor<2>;

fn flat<const D: usize>(x: Tensor<D>) -> Tensor<2> {
    let count = x.dims().iter().product::<usize>();
    x.reshape([1, count])
}

fn row(x: &Tensor<2>) -> Tensor<1> {
    x.clone().squeeze_dim(0)
}

/// Angles, in f32 whatever the type of x.
fn angles(x: &Tensor<2>, length: usize, rotated: usize) -> (Tensor<4>, Tensor<4>) {
    let half = noise(length, rotated / 2, 9, &x.device()).reshape([1, length, 1, rotated / 2]);
    let angles = Tensor::cat(vec![half.clone(), half], 3);
    (angles.clone().cos(), angles.sin())
}

fn grouped(inputs: &[Tensor<2>]) -> Tensor<2> {
    let heads = |i: usize, length: usize, heads: usize| inputs[i].clone().reshape([2, length, heads, 8]);
    flat(attention(heads(0, 7, 4), heads(1, 19, 2), heads(2, 19, 2), &KeyRanges::causal(12, 7), 0.3))
}

fn projected(inputs: &[Tensor<2>]) -> Tensor<2> {
    let qkv = inputs[0].clone().reshape([2, 13, 3 * 3 * 8]);
    let angles = angles(&inputs[0], 13, 4);
    flat(attention_of_projection(qkv, 3, QkvOrder::Heads, Some(angles), &KeyRanges::causal(0, 13), 0.3))
}

fn rotated(inputs: &[Tensor<2>]) -> Tensor<2> {
    let (cos, sin) = angles(&inputs[0], 5, 6);
    flat(rotary(inputs[0].clone().reshape([3, 5, 2, 7]), cos, sin))
}

fn loss(inputs: &[Tensor<2>]) -> Tensor<2> {
    let [hidden, weight] = [&inputs[0], &inputs[1]];
    let targets = Tensor::<1, Int>::arange(0..hidden.dims()[0] as i64, &hidden.device()) * 3;
    let options = CrossEntropyOptions { divisor: 11.0, ..CrossEntropyOptions::default() };
    flat(linear_cross_entropy(hidden.clone(), weight.clone(), targets, options))
}

/// Name, operation, and the shapes of its inputs: odd ones.
const OPERATIONS: [(&str, Operation, &[[usize; 2]]); 12] = [
    ("attention", grouped, &[[2 * 7, 4 * 8], [2 * 19, 2 * 8], [2 * 19, 2 * 8]]),
    ("attention of a projection", projected, &[[2 * 13, 3 * 3 * 8]]),
    ("rotary", rotated, &[[3 * 5, 2 * 7]]),
    ("layer norm", |x| layer_norm(x[0].clone(), row(&x[1]), row(&x[2]), 1e-5), &[[5, 33], [1, 33], [1, 33]]),
    ("RMS norm", |x| rms_norm(x[0].clone(), row(&x[1]), 1e-5), &[[5, 33], [1, 33]]),
    ("GELU", |x| gelu(x[0].clone()), &[[7, 13]]),
    ("GELU by tanh", |x| gelu_tanh(x[0].clone()), &[[7, 13]]),
    ("SwiGLU", |x| swiglu(x[0].clone(), x[1].clone()), &[[7, 13], [7, 13]]),
    ("linear, few rows", |x| linear(x[0].clone(), x[1].clone(), Some(row(&x[2]))), &[[3, 35], [35, 17], [1, 17]]),
    ("linear, many rows", |x| linear(x[0].clone(), x[1].clone(), None), &[[41, 35], [35, 17]]),
    ("linear, one row", |x| linear(x[0].clone(), x[1].clone(), None), &[[1, 35], [35, 17]]),
    ("cross-entropy", loss, &[[11, 24], [37, 24]]),
];

/// Output, and the gradients of all inputs.
fn run(operation: Operation, inputs: &[Tensor<2>], dtype: DType) -> Vec<Vec<f64>> {
    let inputs: Vec<Tensor<2>> = inputs.iter().map(|x| x.clone().cast(dtype).detach().require_grad()).collect();
    let y = operation(&inputs).cast(DType::F32);
    let [rows, columns] = y.dims();
    let gradients = (y.clone() * (noise(rows, columns, 8, &y.device()) + 3.0)).sum().backward();
    let of_inputs = inputs.iter().map(|x| values(x.grad(&gradients).unwrap().cast(DType::F32)));
    [values(y)].into_iter().chain(of_inputs).collect()
}

#[test]
fn values_and_gradients_are_those_of_f32() {
    for device in devices() {
        for (name, operation, shapes) in OPERATIONS {
            let rounded = |(seed, [rows, columns]): (usize, &[usize; 2])| {
                noise(*rows, *columns, seed as u64 + 1, &device).cast(DType::BF16).cast(DType::F32)
            };
            let inputs: Vec<Tensor<2>> = shapes.iter().enumerate().map(rounded).collect();
            let (found, expected) = (run(operation, &inputs, DType::BF16), run(operation, &inputs, DType::F32));
            for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_near(&format!("{name}, {number}"), found, expected, 2e-2);
            }
        }
    }
}
