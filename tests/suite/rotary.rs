//! Rotary positions, alone and in attention from a projection, on every device of this build against their definitions in
//! burn's operations on flex, in f32, on the same rounded inputs: values and gradients.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{DType, Device, Tensor};
use contextlm_kernels::{
    KeyRanges, QkvOrder, attention_of_projection, attention_with, rotary, split_projection, split_turned_projection,
};
use contextlm_tests::cpu;

use crate::backends::devices;
use crate::fused_attention::{assert_near, noise, values};

/// B, T, H, Dh, rotated dimensions, and rows of angles.
type Case = [usize; 6];

/// Pairs that no vector divides, halves of odd sizes, some dimensions, all and none.
const CASES: [Case; 11] = [
    [2, 9, 3, 16, 4, 1],
    [1, 1, 1, 2, 2, 1],
    [2, 3, 2, 7, 2, 1],
    [2, 5, 3, 9, 6, 2],
    [2, 5, 3, 8, 8, 2],
    [3, 65, 2, 64, 16, 1],
    [2, 33, 3, 32, 32, 2],
    [2, 70, 2, 8, 8, 2],
    [3, 5, 2, 8, 0, 1],
    [1, 130, 4, 64, 16, 1],
    [2, 7, 1, 24, 10, 2],
];

/// Those of a device. On a GPU of CubeCL every size is another kernel to compile, and no angles are none of its tensors.
fn cases(device: &str) -> &'static [Case] {
    if device.starts_with("libtorch") { &CASES } else { &CASES[..7] }
}

/// Types that a device computes in.
fn dtypes(device: &Device) -> Vec<DType> {
    let low = [DType::BF16, DType::F16].into_iter().filter(|low| device.supports_dtype(*low));
    [DType::F32].into_iter().chain(low).collect()
}

/// Cosines and sines of angles that differ everywhere but in the second half.
fn angles([_, length, _, _, rotated, rows]: Case, device: &Device) -> (Tensor<4>, Tensor<4>) {
    let half: Tensor<4> = noise([rows, length, 1, rotated / 2], 5.0, device);
    let angles = Tensor::cat(vec![half.clone(), half], 3);
    (angles.clone().cos(), angles.sin())
}

fn definition(x: Tensor<4>, cos: Tensor<4>, sin: Tensor<4>) -> Tensor<4> {
    let ([.., width], [.., rotated]) = (x.dims(), cos.dims());
    if rotated == 0 {
        return x;
    }
    let part = |from: usize, to: usize| x.clone().narrow(3, from, to - from);
    let turned = Tensor::cat(vec![part(rotated / 2, rotated).neg(), part(0, rotated / 2)], 3);
    let turned = part(0, rotated) * cos + turned * sin;
    if rotated == width { turned } else { Tensor::cat(vec![turned, part(rotated, width)], 3) }
}

/// Output, and the gradient of the input, noise that is rounded to the first type and computed with in the second; the
/// gradient of the output comes `by_heads`, [B, H, T, Dh], as attention's do, or as it is.
fn run<const D: usize, const E: usize>(
    shape: [usize; D],
    [rounded, computed]: [DType; 2],
    by_heads: bool,
    device: &Device,
    operation: impl FnOnce(Tensor<D>) -> Tensor<E>,
) -> [Vec<f64>; 2] {
    let x: Tensor<D> = noise(shape, 1.0, device);
    let x = x.cast(rounded).cast(computed).detach().require_grad();
    let y = operation(x.clone());
    assert_eq!(y.dtype(), computed);
    let z = if by_heads { y.clone().swap_dims(1, 2) } else { y.clone() };
    let upstream: Tensor<E> = noise(z.dims(), 2.0, device);
    let gradients = (z * upstream.cast(rounded).cast(computed)).cast(DType::F32).sum().backward();
    [values(y.cast(DType::F32)), values(x.grad(&gradients).unwrap().cast(DType::F32))]
}

fn check(what: &str, found: [Vec<f64>; 2], expected: [Vec<f64>; 2], tolerances: [f64; 2]) {
    for (part, ((found, expected), tolerance)) in found.iter().zip(&expected).zip(tolerances).enumerate() {
        assert_near(&format!("{what}, part {part}"), found, expected, tolerance);
    }
}

/// Where heads may lie.
#[derive(Debug, Clone, Copy)]
enum Place {
    Alone,
    /// Between the heads of others, as in a projection of parts.
    AmongOthers,
    /// Behind other dimensions of every head, as in a projection of heads.
    InWider,
    /// One behind the other.
    ByHeads,
}

impl Place {
    fn shape(self, [rows, length, heads, width, ..]: Case) -> [usize; 4] {
        match self {
            Self::Alone => [rows, length, heads, width],
            Self::AmongOthers => [rows, length, 3 * heads, width],
            Self::InWider => [rows, length, heads, width + 3],
            Self::ByHeads => [rows, heads, length, width],
        }
    }

    /// [B, T, H, Dh]
    fn heads(self, x: Tensor<4>, [_, _, heads, width, ..]: Case) -> Tensor<4> {
        match self {
            Self::Alone => x,
            Self::AmongOthers => x.narrow(2, heads, heads),
            Self::InWider => x.narrow(3, 3, width),
            Self::ByHeads => x.swap_dims(1, 2),
        }
    }
}

/// How far a rotation may be off: as far as many outputs are by a single rounding, since it is in f32. A single one may be
/// rounded by more.
fn tolerance(dtype: DType, length: usize) -> f64 {
    let of_many = match dtype {
        DType::BF16 => 2e-3,
        DType::F16 => 2.5e-4,
        _ => 1e-6,
    };
    if length == 1 { 2.0 * of_many } else { of_many }
}

#[test]
fn heads_are_turned() {
    for (name, device) in devices() {
        let device = device.autodiff();
        for (dtype, &case) in dtypes(&device).into_iter().flat_map(|dtype| cases(&name).iter().map(move |c| (dtype, c)))
        {
            for place in [Place::Alone, Place::AmongOthers, Place::InWider, Place::ByHeads] {
                let turn =
                    |rotate: fn(Tensor<4>, Tensor<4>, Tensor<4>) -> Tensor<4>, computed, by_heads, device: &Device| {
                        let (cos, sin) = angles(case, device);
                        let operation = |x| rotate(place.heads(x, case), cos, sin);
                        run(place.shape(case), [dtype, computed], by_heads, device, operation)
                    };
                for by_heads in [false, true] {
                    let found = turn(rotary, dtype, by_heads, &device);
                    let expected = turn(definition, DType::F32, by_heads, &cpu().autodiff());
                    let what = format!("{name} {dtype:?} {case:?} {place:?}, gradient by heads {by_heads}");
                    check(&what, found, expected, [tolerance(dtype, case[1]); 2]);
                }
            }
        }
    }
}

/// Angles of one position for five would fit by broadcasting.
#[test]
fn angles_of_another_length_are_refused() {
    for (name, device) in devices() {
        let (qkv, angles): (Tensor<3>, _) = (noise([1, 5, 24], 1.0, &device), angles([1, 1, 2, 4, 4, 1], &device));
        let split = AssertUnwindSafe(|| split_turned_projection(qkv, 2, QkvOrder::Parts, Some(angles)));
        let error = catch_unwind(split).unwrap_err();
        let message = error.downcast_ref::<String>().unwrap();
        assert!(message.contains("do not fit"), "{name}: {message}");
    }
}

#[test]
fn attention_of_a_turned_projection() {
    for (name, device) in devices() {
        let device = device.autodiff();
        for (dtype, &case) in dtypes(&device).into_iter().flat_map(|dtype| cases(&name).iter().map(move |c| (dtype, c)))
        {
            let [rows, length, heads, width, ..] = case;
            // Without a GPU, wgpu takes long to tune products of f16; a single key's gradient is rounding.
            let few = name == "wgpu" && width != 64 || !name.starts_with("libtorch") && length == 1;
            if dtype != DType::F32 && few {
                continue;
            }
            let (shape, ranges) = ([rows, length, 3 * heads * width], KeyRanges::causal(0, length));
            let tolerances = match dtype {
                DType::F32 => [1e-5, 1e-4],
                // Of heads 64 wide, whose scores are large: 2.1e-2 on an H100.
                _ => [2e-2, 3e-2],
            };
            for order in [QkvOrder::Parts, QkvOrder::Heads] {
                // A map before it, whose output nobody else holds, and without one.
                for mapped in [false, true] {
                    let input = |x: Tensor<3>| if mapped { x.mul_scalar(0.5) } else { x };
                    let turned = angles(case, &device);
                    let found = run(shape, [dtype; 2], false, &device, |x| {
                        attention_of_projection(input(x), heads, order, Some(turned), &ranges, 0.3)
                    });
                    let (cos, sin) = angles(case, &cpu().autodiff());
                    let expected = run(shape, [dtype, DType::F32], false, &cpu().autodiff(), |x| {
                        let [q, k, v] = split_projection(input(x), heads, order);
                        let [q, k] = [q, k].map(|x| definition(x, cos.clone(), sin.clone()));
                        attention_with(q, k, v, &ranges, 0.3, |weights| weights)
                    });
                    let what = format!("{name} {dtype:?} {case:?} {order:?}, mapped {mapped}");
                    check(&what, found, expected, tolerances);
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
        let turn = |x: Tensor<4>| rotary(x, cos.clone(), sin.clone());
        let none = run([0, 3, 2, 8], [DType::F32; 2], false, &device, turn);
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
