//! The rotation in one pass against burn's operations.

use burn::tensor::{Device, Tensor};
use contextlm_kernels::rotary;

use crate::{assert_near, devices, noise, values};

type Rotation = fn(Tensor<4>, Tensor<4>, Tensor<4>) -> Tensor<4>;

fn composed(x: Tensor<4>, cos: Tensor<4>, sin: Tensor<4>) -> Tensor<4> {
    let ([.., width], [.., rotated]) = (x.dims(), cos.dims());
    let part = |start: usize, end: usize| x.clone().narrow(3, start, end - start);
    let turned = Tensor::cat(vec![part(rotated / 2, rotated).neg(), part(0, rotated / 2)], 3);
    let rotation = part(0, rotated) * cos + turned * sin;
    if rotated == width { rotation } else { Tensor::cat(vec![rotation, part(rotated, width)], 3) }
}

/// Output and gradient of x, which is a part of a projection's output.
fn run(
    rotation: Rotation,
    [rows, length, heads, width]: [usize; 4],
    rotated: usize,
    angle_rows: usize,
    device: &Device,
) -> [Vec<f64>; 2] {
    let all = noise(1, rows * length * heads * 2 * width, 1, device).reshape([rows, length, heads, 2 * width]);
    let x = all.narrow(3, 0, width).require_grad();
    let half = noise(1, angle_rows * length * rotated / 2, 2, device).reshape([angle_rows, length, 1, rotated / 2]);
    let angles = Tensor::cat(vec![half.clone(), half], 3);
    let y = rotation(x.clone(), angles.clone().cos(), angles.sin());
    let upstream = noise(1, rows * length * heads * width, 3, device).reshape([rows, length, heads, width]);
    let gradients = (y.clone() * upstream).sum().backward();
    [values(y), values(x.grad(&gradients).unwrap())]
}

#[test]
fn values_and_gradients_are_the_composed_ones() {
    for device in devices() {
        for (shape, rotated, angle_rows) in
            [([1, 1, 1, 2], 2, 1), ([2, 3, 2, 7], 4, 1), ([2, 5, 3, 8], 8, 2), ([3, 130, 5, 40], 10, 1)]
        {
            let found = run(rotary, shape, rotated, angle_rows, &device);
            let expected = run(composed, shape, rotated, angle_rows, &device);
            for (what, (found, expected)) in ["value", "gradient"].iter().zip(found.iter().zip(&expected)) {
                assert_near(&format!("{shape:?}: {what}"), found, expected, 1e-6);
            }
        }
    }
}
