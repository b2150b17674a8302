//! Rotary positions, alone and in attention from a projection, on every device of this build against their definitions in
//! burn's operations on flex, in f32, on the same rounded inputs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{DType, Device, Tensor};
use contextlm_kernels::{
    KeyRanges, QkvOrder, attention_of_projection, attention_with, rotary, split_projection, split_turned_projection,
};
use contextlm_tests::cpu;

use crate::backends::devices;
use crate::fused_attention::{assert_near, exact, noise, values};

/// B, T, H, Dh.
type Shape = [usize; 4];

/// Shapes, rotated dimensions and rows of angles: pairs that no vector divides, halves of odd sizes, some dimensions and all.
const CASES: [(Shape, usize, usize); 6] = [
    ([1, 1, 1, 2], 2, 1),
    ([2, 3, 2, 7], 2, 1),
    ([2, 5, 3, 9], 6, 2),
    ([2, 5, 3, 8], 8, 2),
    ([3, 65, 2, 64], 16, 1),
    ([2, 33, 3, 32], 32, 2),
];

/// Cosines and sines of angles that differ everywhere but in the second half.
fn angles(length: usize, rotated: usize, rows: usize, device: &Device) -> (Tensor<4>, Tensor<4>) {
    let half = noise([rows, length, 1, rotated / 2], 5.0, device);
    let angles = Tensor::cat(vec![half.clone(), half], 3);
    (angles.clone().cos(), angles.sin())
}

fn definition(x: Tensor<4>, cos: Tensor<4>, sin: Tensor<4>) -> Tensor<4> {
    let ([.., width], [.., rotated]) = (x.dims(), cos.dims());
    let part = |start: usize, end: usize| x.clone().narrow(3, start, end - start);
    let turned = Tensor::cat(vec![part(rotated / 2, rotated).neg(), part(0, rotated / 2)], 3);
    let turned = part(0, rotated) * cos + turned * sin;
    if rotated == width { turned } else { Tensor::cat(vec![turned, part(rotated, width)], 3) }
}

/// Types that a device computes in, with tolerances of values and gradients.
fn dtypes(name: &str, device: &Device) -> Vec<(DType, f64)> {
    let low = [DType::BF16, DType::F16].into_iter().filter(|low| device.supports_dtype(*low));
    let mut dtypes = vec![(DType::F32, 1e-6)];
    if !name.starts_with("libtorch") {
        dtypes.extend(low.map(|low| (low, 5e-3)));
    }
    dtypes
}

/// Where heads may lie: by themselves, in a part of a projection, or behind one another.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Alone,
    Part,
    ByHeads,
}

/// Output and gradient of the rotation of noise of a type.
fn run(
    rotate: fn(Tensor<4>, Tensor<4>, Tensor<4>) -> Tensor<4>,
    ([rows, length, heads, width], rotated, angle_rows): (Shape, usize, usize),
    place: Place,
    [rounded, computed]: [DType; 2],
    device: &Device,
) -> [Vec<f64>; 2] {
    let shape = match place {
        Place::Alone => [rows, length, heads, width],
        Place::Part => [rows, length, 3 * heads, width],
        Place::ByHeads => [rows, heads, length, width],
    };
    let leaf = noise(shape, 1.0, device).cast(rounded).cast(computed).detach().require_grad();
    let x = match place {
        Place::Alone => leaf.clone(),
        Place::Part => leaf.clone().narrow(2, heads, heads),
        Place::ByHeads => leaf.clone().swap_dims(1, 2),
    };
    let (cos, sin) = angles(length, rotated, angle_rows, device);
    let y = rotate(x, cos, sin);
    assert_eq!(y.dtype(), computed);
    // Behind one another as well, as attention's gradients are.
    let upstream: Tensor<4> = noise([rows, heads, length, width], 2.0, device).cast(rounded).cast(computed);
    let gradients = (y.clone().swap_dims(1, 2) * upstream).cast(DType::F32).sum().backward();
    [values(y.cast(DType::F32)), values(leaf.grad(&gradients).unwrap().cast(DType::F32))]
}

#[test]
fn heads_are_turned() {
    for (name, device) in devices() {
        let device = device.autodiff();
        for (dtype, tolerance) in dtypes(&name, &device) {
            for case in CASES {
                for place in [Place::Alone, Place::Part, Place::ByHeads] {
                    let found = run(rotary, case, place, [dtype; 2], &device);
                    let expected = run(definition, case, place, [dtype, DType::F32], &cpu().autodiff());
                    let what = format!("{name} {dtype:?} {case:?} {place:?}");
                    assert_near(&what, &found[0], &expected[0], tolerance);
                    assert_near(&format!("{what}: gradient"), &found[1], &expected[1], tolerance);
                }
            }
        }
    }
}

/// Angles of one position for five would fit by broadcasting.
#[test]
fn angles_of_another_length_are_refused() {
    for (name, device) in devices() {
        let (qkv, angles): (Tensor<3>, _) = (noise([1, 5, 24], 1.0, &device), angles(1, 4, 1, &device));
        let split = AssertUnwindSafe(|| split_turned_projection(qkv, 2, QkvOrder::Parts, Some(angles)));
        let error = catch_unwind(split).unwrap_err();
        let message = error.downcast_ref::<String>().unwrap();
        assert!(message.contains("do not fit"), "{name}: {message}");
    }
}

/// Output and gradient of attention from a projection of a type.
fn attend(
    whole: bool,
    order: QkvOrder,
    ([rows, length, heads, width], rotated, angle_rows): (Shape, usize, usize),
    [rounded, computed]: [DType; 2],
    device: &Device,
) -> [Vec<f64>; 2] {
    let ranges = KeyRanges::causal(0, length);
    let leaf = noise([rows, length, 3 * heads * width], 1.0, device).cast(rounded).cast(computed);
    let qkv = leaf.detach().require_grad();
    let (cos, sin) = angles(length, rotated, angle_rows, device);
    let y = match whole {
        true => attention_of_projection(qkv.clone(), heads, order, Some((cos, sin)), &ranges, 0.3),
        false => {
            let [q, k, v] = split_projection(qkv.clone(), heads, order);
            let [q, k] = [q, k].map(|x| definition(x, cos.clone(), sin.clone()));
            attention_with(q, k, v, &ranges, 0.3, |weights| weights)
        }
    };
    let y = y.cast(DType::F32);
    let gradients = (y.clone() * noise(y.dims(), 2.0, device)).sum().backward();
    [values(y), values(qkv.grad(&gradients).unwrap().cast(DType::F32))]
}

#[test]
fn queries_and_keys_of_a_projection_are_turned() {
    for (name, device) in devices() {
        let device = device.autodiff();
        for (dtype, _) in dtypes(&name, &device) {
            for case in CASES {
                // Without a GPU, wgpu takes long to tune products of f16; a single key's gradient is rounding.
                let few = name == "wgpu" && case.0[3] != 64 || case.0[1] == 1;
                if dtype != DType::F32 && few {
                    continue;
                }
                for order in [QkvOrder::Parts, QkvOrder::Heads] {
                    let found = attend(true, order, case, [dtype; 2], &device);
                    let expected = attend(false, order, case, [dtype, DType::F32], &cpu().autodiff());
                    let [of_values, of_gradients] = match dtype {
                        DType::F32 => [exact(&name, 1e-5), exact(&name, 1e-4)],
                        _ => [2e-2; 2],
                    };
                    let what = format!("{name} {dtype:?} {case:?} {order:?}");
                    assert_near(&what, &found[0], &expected[0], of_values);
                    assert_near(&format!("{what}: gradient"), &found[1], &expected[1], of_gradients);
                }
            }
        }
    }
}
