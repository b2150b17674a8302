//! Rotary positions, alone and before attention from a projection, on every device of this build but flex against their
//! definition in burn's operations in f32 on the same rounded inputs: values and gradients.

use burn::tensor::{DType, Device, Tensor};
use contextlm_kernels::{KeyRanges, QkvOrder, attention_of_projection, attention_with, rotary, split_projection};

use crate::backends::devices;
use crate::fused_attention::{assert_near, exact, noise, values};

/// B, T, H, Dh, rotated dimensions, and rows of angles.
type Case = [usize; 6];

const CASES: [Case; 6] = [
    [2, 9, 3, 16, 4, 1],
    [1, 1, 1, 2, 2, 1],
    [2, 70, 2, 8, 8, 2],
    [3, 5, 2, 8, 0, 1],
    [1, 130, 4, 64, 16, 1],
    [2, 7, 1, 24, 10, 2],
];

/// Those of a device. Every size is another kernel to compile on a GPU of CubeCL; `rotary.rs` has more of them there.
fn cases(device: &str) -> &'static [Case] {
    if device.starts_with("libtorch") { &CASES } else { &CASES[..1] }
}

/// In which types, and how far values and gradients may be off: as far as many outputs are by a single rounding, since the
/// rotation is in f32.
fn dtypes(device: &str) -> Vec<(DType, f64)> {
    let low = [(DType::BF16, 2e-3), (DType::F16, 2.5e-4)];
    let low = if device.starts_with("libtorch") { &low[..] } else { &[] };
    [&[(DType::F32, exact(device, 1e-6))], low].concat()
}

/// Cosines and sines of any angles.
fn angles([_, length, _, _, rotated, rows]: Case, device: &Device) -> (Tensor<4>, Tensor<4>) {
    let half: Tensor<4> = noise([rows, length, 1, rotated / 2], 5.0, device);
    let angles = Tensor::cat(vec![half.clone(), half], 3);
    (angles.clone().cos(), angles.sin())
}

fn defined(x: Tensor<4>, cos: Tensor<4>, sin: Tensor<4>) -> Tensor<4> {
    let ([.., width], [.., rotated]) = (x.dims(), cos.dims());
    if rotated == 0 {
        return x;
    }
    let part = |from: usize, to: usize| x.clone().narrow(3, from, to - from);
    let (first, second) = (part(0, rotated / 2), part(rotated / 2, rotated));
    let turned = part(0, rotated) * cos + Tensor::cat(vec![second.neg(), first], 3) * sin;
    if rotated == width { turned } else { Tensor::cat(vec![turned, part(rotated, width)], 3) }
}

/// Output, and the gradient of the input, which is rounded to a type; the definition computes in f32.
fn run<const D: usize, const E: usize>(
    shape: [usize; D],
    [rounded, computed]: [DType; 2],
    device: &Device,
    operation: impl FnOnce(Tensor<D>) -> Tensor<E>,
) -> [Vec<f64>; 2] {
    let x: Tensor<D> = noise(shape, 1.0, device);
    let x = x.cast(rounded).cast(computed).detach().require_grad();
    let y = operation(x.clone()).cast(DType::F32);
    let upstream: Tensor<E> = noise(y.dims(), 2.0, device);
    let gradients = (y.clone() * upstream.cast(rounded).cast(DType::F32)).sum().backward();
    [values(y), values(x.grad(&gradients).unwrap().cast(DType::F32))]
}

fn check(what: &str, found: [Vec<f64>; 2], expected: [Vec<f64>; 2], tolerances: [f64; 2]) {
    for (part, ((found, expected), tolerance)) in found.iter().zip(&expected).zip(tolerances).enumerate() {
        assert_near(&format!("{what}, part {part}"), found, expected, tolerance);
    }
}

#[test]
fn rotations() {
    for (name, device) in devices() {
        let device = device.autodiff();
        for &case in cases(&name) {
            let [rows, length, heads, width, ..] = case;
            let (cos, sin) = angles(case, &device);
            for (dtype, tolerance) in dtypes(&name) {
                // A single one may be rounded by more than many are.
                let tolerance = if length == 1 { 2.0 * tolerance } else { tolerance };
                // Heads as they stand, and as a part of wider ones, as in a projection.
                for wider in [0, 3] {
                    let shape = [rows, length, heads, width + wider];
                    let part = |x: Tensor<4>| x.narrow(3, wider, width);
                    let found = run(shape, [dtype; 2], &device, |x| rotary(part(x), cos.clone(), sin.clone()));
                    let in_f32 = [dtype, DType::F32];
                    let expected = run(shape, in_f32, &device, |x| defined(part(x), cos.clone(), sin.clone()));
                    check(&format!("{name} {dtype:?} {case:?}, {wider} wider"), found, expected, [tolerance; 2]);
                }
            }
        }
    }
}

#[test]
fn no_rows() {
    for (_, device) in devices().into_iter().filter(|(name, _)| name.starts_with("libtorch")) {
        let (device, case) = (device.autodiff(), [0, 3, 2, 8, 4, 1]);
        let (cos, sin) = angles(case, &device);
        let in_f32 = [DType::F32; 2];
        let none = run([0, 3, 2, 8], in_f32, &device, |x: Tensor<4>| rotary(x, cos.clone(), sin.clone()));
        assert!(none.iter().all(Vec::is_empty));
        let (qkv, ranges) = (Tensor::<3>::zeros([0, 3, 48], &device), KeyRanges::causal(0, 3));
        let attended = attention_of_projection(qkv, 2, QkvOrder::Heads, Some((cos, sin)), &ranges, 0.3);
        assert_eq!(attended.dims(), [0, 3, 16]);
    }
}

#[test]
fn somebody_elses_tensor_stays_as_it_is() {
    for (name, device) in devices() {
        let case = CASES[0];
        let [rows, length, heads, width, ..] = case;
        let angles = angles(case, &device);
        let qkv: Tensor<3> = noise([rows, length, 3 * heads * width], 1.0, &device);
        let before = values(qkv.clone());
        let ranges = KeyRanges::causal(0, length);
        let attend =
            || attention_of_projection(qkv.clone(), heads, QkvOrder::Heads, Some(angles.clone()), &ranges, 0.3);
        assert_eq!(values(attend()), values(attend()), "{name}");
        assert_eq!(values(qkv.clone()), before, "{name}");
    }
}

#[test]
fn attention_of_a_turned_projection() {
    for (name, device) in devices() {
        let device = device.autodiff();
        for (&case, order) in cases(&name).iter().flat_map(|case| [QkvOrder::Parts, QkvOrder::Heads].map(|o| (case, o)))
        {
            let [rows, length, heads, width, ..] = case;
            let (angles, ranges) = (angles(case, &device), KeyRanges::causal(0, length));
            // A map before it, whose output nobody else holds, and without one.
            for mapped in [false, true] {
                let input = |x: Tensor<3>| if mapped { x.mul_scalar(0.5) } else { x };
                let operation = |x| attention_of_projection(input(x), heads, order, Some(angles.clone()), &ranges, 0.3);
                let definition = |x| {
                    let [q, k, v] = split_projection(input(x), heads, order);
                    let [q, k] = [q, k].map(|x| defined(x, angles.0.clone(), angles.1.clone()));
                    attention_with(q, k, v, &ranges, 0.3, |weights| weights)
                };
                let shape = [rows, length, 3 * heads * width];
                for (dtype, _) in dtypes(&name) {
                    let tolerances = match dtype {
                        DType::F32 => [exact(&name, 1e-5), exact(&name, 1e-4)],
                        _ => [2e-2; 2],
                    };
                    let found = run(shape, [dtype; 2], &device, operation);
                    let expected = run(shape, [dtype, DType::F32], &device, definition);
                    check(
                        &format!("{name} {dtype:?} {case:?} {order:?}, mapped {mapped}"),
                        found,
                        expected,
                        tolerances,
                    );
                }
            }
        }
    }
}
