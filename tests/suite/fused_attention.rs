//! Attention as one operation on every backend of this build against its composed form on the same backend. Those without
//! an operation of their own compose it: they are equal.

use burn::tensor::{DType, Device, Tensor, TensorData};
use contextlm_kernels::{KeyRanges, QkvOrder, attention, attention_of_projection, attention_with, split_projection};
use contextlm_tests::cpu;

use crate::backends::{devices, reference};

/// B, T, S, H, G, Dh.
type Shape = [usize; 6];

pub(crate) fn noise<const D: usize>(shape: [usize; D], seed: f32, device: &Device) -> Tensor<D> {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> =
        (0..count).map(|i| 1.5 * ((i as f32) * 1.7 + seed * 31.0 + (i as f32).sqrt()).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

pub(crate) fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().convert::<f64>().try_into_vec().unwrap()
}

pub(crate) fn assert_near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    // A single key has a softmax of 1, and a single number is its own mean: their gradients are rounding.
    let limit = tolerance * norm(&mut expected.iter().copied()).max(4e-3);
    assert!(difference <= limit, "{what}: differs by {difference:.2e}, allowed {limit:.2e}");
}

/// Output, and gradients of q, k and v.
fn run(fused: bool, shape: Shape, ranges: &KeyRanges, dtype: DType, device: &Device) -> [Vec<f64>; 4] {
    let [rows, queries, keys, heads, kv_heads, width] = shape;
    let leaf = |shape, seed| noise(shape, seed, device).cast(dtype).detach().require_grad();
    let q = leaf([rows, queries, heads, width], 1.0);
    let [k, v] = [2.0, 3.0].map(|seed| leaf([rows, keys, kv_heads, width], seed));
    // The composed form in f32, on the same rounded inputs.
    let y = match fused {
        true => attention(q.clone(), k.clone(), v.clone(), ranges, 0.3).cast(DType::F32),
        false => {
            let [q, k, v] = [&q, &k, &v].map(|x| x.clone().cast(DType::F32));
            attention_with(q, k, v, ranges, 0.3, |weights| weights)
        }
    };
    assert_eq!(y.dims(), [rows, queries, heads * width]);
    let upstream = noise(y.dims(), 4.0, device);
    let gradients = (y.clone() * upstream).sum().backward();
    let of = |x: &Tensor<4>| values(x.grad(&gradients).unwrap().cast(DType::F32));
    [values(y), of(&q), of(&k), of(&v)]
}

/// What [`run`] gives.
fn all_near(what: &str, found: &[Vec<f64>; 4], expected: &[Vec<f64>; 4], of_values: f64, of_gradients: f64) {
    let tolerances = [of_values, of_gradients, of_gradients, of_gradients];
    for (part, ((found, expected), tolerance)) in
        ["value", "q", "k", "v"].iter().zip(found.iter().zip(expected).zip(tolerances))
    {
        assert_near(&format!("{what}: {part}"), found, expected, tolerance);
    }
}

fn compare(shape: Shape, ranges: &KeyRanges) {
    for (name, device) in devices() {
        let device = device.autodiff();
        let mut dtypes = vec![(DType::F32, 1e-5, 1e-4)];
        let reference = reference(&name, &device).autodiff();
        for low in [DType::BF16, DType::F16] {
            let libtorch = name.starts_with("libtorch");
            // Without a GPU, wgpu takes long to tune products of f16.
            let gpu = (name == "cuda" && shape[2] > 1) || shape[1] == 65;
            if libtorch && low == DType::BF16 || !libtorch && gpu && device.supports_dtype(low) {
                // Scores are kept in the type, and those of wide heads are large here.
                let tolerance = if gpu && shape[5] == 64 { 5e-2 } else { 2e-2 };
                dtypes.push((low, 2e-2, tolerance));
            }
        }
        for (dtype, of_values, of_gradients) in dtypes {
            let found = run(true, shape, ranges, dtype, &device);
            let expected = run(false, shape, ranges, dtype, &reference);
            let own = name == "libtorch" && found[0].len() > 1000;
            assert!(!own || found[0] != expected[0], "{name}: it is composed");
            all_near(&format!("{name} {dtype:?} {shape:?}"), &found, &expected, of_values, of_gradients);
        }
    }
}

#[test]
fn causal() {
    for (rows, length, heads, kv_heads, width) in
        [(1, 1, 1, 1, 1), (2, 3, 2, 2, 5), (3, 65, 4, 2, 16), (1, 257, 3, 1, 7), (2, 130, 2, 2, 64)]
    {
        compare([rows, length, length, heads, kv_heads, width], &KeyRanges::causal(0, length));
    }
}

/// Where there is CUDA; elsewhere the sizes above do.
fn cuda() -> Option<Device> {
    devices().into_iter().find(|(name, _)| name == "cuda").map(|(_, device)| device.autodiff())
}

/// New tensors of so many numbers of 16 bits, or half as many of 32, get memory full of NaN.
fn spoil(count: usize, device: &Device) {
    let nan = f32::from_bits(0x7fc0_7fc0); // in bf16 and f16 too
    let spoilt: Vec<Tensor<1>> = (0..8)
        .map(|_| Tensor::from_data(TensorData::new(vec![nan; count / 2], [count / 2]), &device.clone().inner()))
        .collect();
    assert!(spoilt.into_iter().all(|tensor| values(tensor)[0].is_nan()));
}

/// On Hopper by kernels of our own: lengths that are multiples of 8, a tile and more, and single heads with so many keys that
/// several cubes share them. Scores are kept in bf16, and these are large: the gradient of q of the
/// first is off by 2.7e-2.
#[test]
fn long_rows_in_bf16() {
    let Some(device) = cuda() else { return };
    let all_keys = KeyRanges::new(vec![vec![0..1024; 1024]], 1024);
    for (shape, ranges) in [
        ([2, 128, 128, 2, 2, 64], KeyRanges::causal(0, 128)),
        ([1, 200, 200, 4, 2, 64], KeyRanges::causal(0, 200)),
        ([1, 1000, 1000, 1, 1, 64], KeyRanges::causal(0, 1000)),
        ([1, 1024, 1024, 1, 1, 64], KeyRanges::causal(0, 1024)),
        ([1, 1024, 1024, 1, 1, 64], all_keys),
    ] {
        spoil(shape[0] * shape[3] * shape[1] * shape[2], &device);
        let found = run(true, shape, &ranges, DType::BF16, &device);
        let expected = run(false, shape, &ranges, DType::BF16, &cpu().autodiff());
        all_near(&format!("{shape:?}"), &found, &expected, 5e-2, 5e-2);
    }
}

/// The same in f32.
#[test]
fn long_rows_in_f32() {
    let Some(device) = cuda() else { return };
    let shape = [1, 200, 200, 2, 2, 64];
    let ranges = KeyRanges::causal(0, 200);
    spoil(2 * 2 * 200 * 200, &device);
    let found = run(true, shape, &ranges, DType::F32, &device);
    let expected = run(false, shape, &ranges, DType::F32, &cpu().autodiff());
    all_near("f32", &found, &expected, 1e-5, 1e-4);
}

/// Output, and gradients of q, k and v, of causal attention with so many keys behind all queries, which nobody attends to.
fn run_before([rows, length, heads, width]: [usize; 4], behind: usize, dtype: DType, device: &Device) -> [Vec<f64>; 4] {
    let of = |length, seed| noise([rows, length, heads, width], seed, device).cast(dtype).detach();
    let [q, k, v] = [1.0, 2.0, 3.0].map(|seed| of(length, seed).require_grad());
    let longer = |x: &Tensor<4>, seed| match behind {
        0 => x.clone(),
        _ => Tensor::cat(vec![x.clone(), of(behind, seed)], 1),
    };
    let ranges = KeyRanges::new(vec![(0..length).map(|query| 0..query + 1).collect()], length + behind);
    let y = attention(q.clone(), longer(&k, 5.0), longer(&v, 6.0), &ranges, 0.1);
    let gradients = (y.clone() * noise(y.dims(), 4.0, device).cast(dtype)).sum().backward();
    let of = |x: &Tensor<4>| values(x.grad(&gradients).unwrap().cast(DType::F32));
    [values(y.cast(DType::F32)), of(&q), of(&k), of(&v)]
}

/// Masked scores are left out where there are as many keys as queries, and are not where there are more. What is left out
/// is zeros in sums: not a bit differs. On Hopper; another GPU may multiply other sizes by other kernels.
#[test]
fn what_is_left_out_changes_nothing() {
    let Some(device) = cuda().filter(|_| cfg!(feature = "cuda-cpp")) else { return };
    for shape @ [rows, length, heads, _] in
        [[1, 128, 2, 64], [2, 200, 2, 64], [1, 1000, 2, 64], [2, 264, 1, 128], [1, 40, 2, 32]]
    {
        for dtype in [DType::BF16, DType::F16] {
            let whole = run_before(shape, 8, dtype, &device);
            spoil(rows * heads * length * length, &device);
            let found = run_before(shape, 0, dtype, &device);
            for (part, (found, whole)) in ["value", "q", "k", "v"].iter().zip(found.iter().zip(&whole)) {
                let differ = found.iter().zip(whole).filter(|(a, b)| a != b).count();
                assert_eq!(differ, 0, "{dtype:?} {shape:?}: {part}, of {}", whole.len());
            }
        }
    }
}

/// In bf16, as a model has it.
#[test]
fn long_rows_of_a_projection() {
    let Some(device) = cuda() else { return };
    let [rows, length, heads, width] = [2, 200, 2, 64];
    let ranges = KeyRanges::causal(0, length);
    let run = |dtype: DType, device: &Device, attend: &dyn Fn(Tensor<3>) -> Tensor<3>| {
        let qkv = noise([rows, length, 3 * heads * width], 1.0, device).cast(DType::BF16).cast(dtype).detach();
        let qkv = qkv.require_grad();
        let y = attend(qkv.clone()).cast(DType::F32);
        let gradients = (y.clone() * noise(y.dims(), 2.0, device)).sum().backward();
        [values(y), values(qkv.grad(&gradients).unwrap().cast(DType::F32))]
    };
    spoil(rows * heads * length * length, &device);
    let found =
        run(DType::BF16, &device, &|qkv| attention_of_projection(qkv, heads, QkvOrder::Parts, None, &ranges, 0.1));
    let expected = run(DType::F32, &cpu().autodiff(), &|qkv| {
        let [q, k, v] = split_projection(qkv, heads, QkvOrder::Parts);
        attention_with(q, k, v, &ranges, 0.1, |weights| weights)
    });
    for (part, (found, expected)) in ["value", "gradient"].iter().zip(found.iter().zip(&expected)) {
        assert_near(part, found, expected, 5e-2);
    }
}

#[test]
fn queries_that_are_the_last_of_the_keys() {
    for (past, queries) in [(5, 1), (300, 1), (70, 70), (511, 3)] {
        compare([2, queries, past + queries, 4, 2, 16], &KeyRanges::causal(past, queries));
    }
}

#[test]
fn packed_documents_and_rows_of_different_pasts() {
    let documents =
        |starts: &[usize]| (0..90).map(|t| *starts.iter().rfind(|start| **start <= t).unwrap()..t + 1).collect();
    let packed = KeyRanges::new(vec![documents(&[0, 3, 70]), documents(&[0, 41])], 90);
    compare([2, 90, 90, 2, 1, 8], &packed);
    let pasts = KeyRanges::new(vec![vec![0..3, 0..4], vec![0..50, 0..51]], 51);
    compare([2, 2, 51, 2, 2, 8], &pasts);
}

/// As in decoding: a query a row from the middle of a projection, keys and values from the beginning of a cache, and no gradients.
#[test]
fn one_query_with_keys_from_a_cache() {
    const ROOM: usize = 3;
    let last = |keys: usize| KeyRanges::causal(keys - 1, 1);
    for ([rows, keys, heads, kv_heads, width], ranges) in [
        ([1, 1, 1, 1, 8], last(1)),
        ([2, 40, 4, 2, 16], last(40)),
        ([3, 40, 4, 2, 8], KeyRanges::new(vec![vec![0..1], vec![0..40], vec![7..33]], 40)),
        ([1, 600, 3, 1, 64], last(600)),
        // Units without a key at first, and units without a value.
        ([1, 600, 2, 2, 24], KeyRanges::new(vec![vec![300..600]], 600)),
        ([1, 70, 1, 1, 96], last(70)),
        ([2, 257, 2, 2, 128], last(257)),
        // Without a kernel for it on GPUs.
        ([1, 40, 2, 1, 20], last(40)),
        ([1, 40, 1, 1, 136], last(40)),
        ([1, 1025, 1, 1, 8], last(1025)),
    ] {
        for (name, device) in devices() {
            for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, 2e-2), (DType::F16, 2e-2)] {
                let no_kernel = width % 8 != 0 || width > 128 || keys > 1024;
                // Without a GPU, wgpu takes long to tune products of f16.
                if !device.supports_dtype(dtype) || name == "wgpu" && no_kernel && dtype != DType::F32 {
                    continue;
                }
                let run = |computed: DType, fused: bool, device: &Device| {
                    let of = |shape, seed| (noise::<4>(shape, seed, device) + 0.5).cast(dtype).cast(computed);
                    let q = of([rows, 1, heads + 2, width], 1.0).narrow(2, 1, heads);
                    let k = of([rows, kv_heads, keys + ROOM, width], 2.0).narrow(2, 0, keys).swap_dims(1, 2);
                    // Of odd strides.
                    let v = of([rows, kv_heads, keys, width + 1], 3.0).narrow(3, 0, width).swap_dims(1, 2);
                    let y = match fused {
                        true => attention(q, k, v, &ranges, 0.3),
                        false => attention_with(q, k, v, &ranges, 0.3, |weights| weights),
                    };
                    assert_eq!(y.dims(), [rows, 1, heads * width]);
                    values(y.cast(DType::F32))
                };
                let what = format!("{name} {dtype:?} {:?}", [rows, keys, heads, kv_heads, width]);
                assert_near(&what, &run(dtype, true, &device), &run(DType::F32, false, &cpu()), tolerance);
            }
        }
    }
}

#[test]
fn no_rows_and_no_queries() {
    for (name, device) in devices() {
        // wgpu has no tensors without elements.
        if name == "wgpu" {
            continue;
        }
        let of = |rows, length| Tensor::<4>::zeros([rows, length, 2, 8], &device);
        let none = attention(of(0, 4), of(0, 4), of(0, 4), &KeyRanges::causal(0, 4), 1.0);
        assert_eq!(none.dims(), [0, 4, 16], "{name}");
        let none = attention(of(2, 0), of(2, 3), of(2, 3), &KeyRanges::causal(3, 0), 1.0);
        assert_eq!(none.dims(), [2, 0, 16], "{name}");
    }
}

#[test]
fn parts_of_a_projection() {
    for (name, device) in devices() {
        let (device, reference) = (device.clone().autodiff(), reference(&name, &device).autodiff());
        for order in [QkvOrder::Parts, QkvOrder::Heads] {
            for [rows, length, heads, width] in [[1, 1, 1, 2], [2, 5, 3, 8], [2, 70, 3, 8]] {
                let ranges = KeyRanges::causal(0, length);
                let run = |whole: bool, device: &Device| {
                    let qkv = noise([rows, length, 3 * heads * width], 1.0, device).require_grad();
                    let y = if whole {
                        attention_of_projection(qkv.clone(), heads, order, None, &ranges, 0.3)
                    } else {
                        let [q, k, v] = split_projection(qkv.clone(), heads, order);
                        attention_with(q, k, v, &ranges, 0.3, |weights| weights)
                    };
                    let gradients = (y.clone() * noise(y.dims(), 2.0, device)).sum().backward();
                    [values(y), values(qkv.grad(&gradients).unwrap())]
                };
                let (found, expected) = (run(true, &device), run(false, &reference));
                let what = format!("{name} {order:?} {:?}", [rows, length, heads, width]);
                assert_near(&what, &found[0], &expected[0], 1e-5);
                assert_near(&format!("{what}: gradient"), &found[1], &expected[1], 1e-4);
            }
        }
    }
}
