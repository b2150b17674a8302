//! Linear maps and their gradients on every device of this build but flex, on whole numbers: products and sums
//! are exact in f32, so that the results are those of flex bit by bit; in bf16 and f16, rounded once.

use burn::tensor::{DType, Device, Tensor, TensorData};
use contextlm_kernels::linear;
use contextlm_tests::cpu;

use crate::backends::devices;

/// Whole numbers from -2 to 2.
fn whole([rows, width]: [usize; 2], step: usize, device: &Device) -> Tensor<2> {
    let number = |at: usize| ((at / width * step + at % width * 7 + at / 11) % 5) as f32 - 2.0;
    let numbers: Vec<_> = (0..rows * width).map(number).collect();
    Tensor::from_data(TensorData::new(numbers, [rows, width]), device)
}

/// x W, or x W^T where W is [outputs, inputs].
fn map(x: Tensor<2>, weight: Tensor<2>, turned: bool) -> Tensor<2> {
    linear(x, if turned { weight.transpose() } else { weight }, None)
}

/// A map, and the gradients of both factors for a third matrix as upstream.
fn run([rows, inputs, outputs]: [usize; 3], turned: bool, dtype: DType, device: &Device) -> [Vec<f32>; 3] {
    let of_weight = if turned { [outputs, inputs] } else { [inputs, outputs] };
    let leaf = |shape, step| whole(shape, step, device).cast(dtype).detach().require_grad();
    let (x, weight) = (leaf([rows, inputs], 3), leaf(of_weight, 8));
    let y = map(x.clone(), weight.clone(), turned);
    let upstream = whole([rows, outputs], 4, device);
    let gradients = (y.clone().cast(DType::F32) * upstream).sum().backward();
    [y, x.grad(&gradients).unwrap(), weight.grad(&gradients).unwrap()].map(numbers)
}

fn numbers(tensor: Tensor<2>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().try_to_vec().unwrap()
}

#[test]
fn whole_numbers_are_multiplied_exactly() {
    let flex = cpu().autodiff();
    let rounded = |values: &[f32], dtype: DType| {
        let values: Tensor<1> = Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &flex);
        values.cast(dtype).cast(DType::F32).into_data().try_to_vec::<f32>().unwrap()
    };
    // Rows, inputs and outputs: whole tiles of the kernels for GPUs, more and less than one, few with a long way, a single row; and
    // rows that do not begin at multiples of 16 bytes, nor of 4.
    let sizes = [
        [128, 64, 128],
        [40, 200, 328],
        [136, 520, 40],
        [64, 4096, 72],
        [1032, 520, 776],
        [1, 768, 96],
        [1, 60, 33],
        [72, 72, 50],
        [40, 35, 49],
        [3, 1, 1],
        [40, 64, 1],
    ];
    for (name, device) in devices() {
        // Without a GPU, wgpu takes minutes to tune products of f16, and they are burn's.
        if name == "wgpu" {
            continue;
        }
        let device = device.autodiff();
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            if !name.starts_with("libtorch") && !device.supports_dtype(dtype) {
                continue;
            }
            for size in sizes {
                for turned in [false, true] {
                    let expected = run(size, turned, DType::F32, &flex);
                    let found = run(size, turned, dtype, &device);
                    for (part, (found, expected)) in ["x W", "of x", "of W"].iter().zip(found.iter().zip(&expected)) {
                        let what = format!("{name}, {dtype:?}, {size:?}, turned {turned}: {part}");
                        assert!(*found == rounded(expected, dtype), "{what}");
                    }
                }
            }
        }
    }
}

/// Whole numbers of up to `bits` bits, zeros but for every `sparse`th.
fn large([rows, width]: [usize; 2], bits: u32, sparse: usize, device: &Device) -> Tensor<2> {
    let number = |at: usize| {
        let (row, column) = (at / width, at % width);
        let bits = ((at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - bits)) as f32;
        let sign = if (row + column) % 3 == 0 { -1.0 } else { 1.0 };
        if (row + 3 * column).is_multiple_of(sparse) { sign * bits } else { 0.0 }
    };
    let numbers: Vec<_> = (0..rows * width).map(number).collect();
    Tensor::from_data(TensorData::new(numbers, [rows, width]), device)
}

/// In f32, numbers whose every bit counts, and whose products have fewer than 24: an operand that was rounded, to TF32 or to some
/// parts in bf16, would be off. x and W take turns with many bits and few.
#[test]
fn whole_numbers_of_f32_keep_all_their_bits() {
    // Sums are below 2^24: 2^23 x 1 x 1, 2^17 x 2^2 x 16, 2^11 x 2^9 x 8.
    let bits = [(23, 1, 64), (17, 2, 4), (11, 9, 8)];
    let product = |[rows, inputs, outputs]: [usize; 3], bits: [(u32, usize); 2], turned: [bool; 2], device: &Device| {
        let [(x, of_x), (w, of_w)] = bits;
        let stored = |shape: [usize; 2], turned: bool, bits, sparse| match turned {
            true => large([shape[1], shape[0]], bits, sparse, device).transpose(),
            false => large(shape, bits, sparse, device),
        };
        numbers(linear(stored([rows, inputs], turned[0], x, of_x), stored([inputs, outputs], turned[1], w, of_w), None))
    };
    let flex = cpu();
    for (name, device) in devices() {
        if name == "wgpu" {
            continue;
        }
        // In f32 cubes share an inner dimension of this length, however many they are.
        if name == "cuda" {
            let size = [1536, 4160, 1536];
            let [found, expected] =
                [&device, &flex].map(|device| run(size, false, DType::F32, &device.clone().autodiff()));
            assert!(found == expected, "{size:?}");
        }
        for size in [[1, 64, 96], [2, 64, 33], [72, 60, 50], [130, 64, 200], [300, 16, 8]] {
            for (many, few, sparse) in bits {
                for bits in [[(many, 1), (few, sparse)], [(few, sparse), (many, 1)]] {
                    for turned in [[false, false], [false, true], [true, false], [true, true]] {
                        let (found, expected) =
                            (product(size, bits, turned, &device), product(size, bits, turned, &flex));
                        let what = format!("{name}, {size:?}, {bits:?}, turned {turned:?}");
                        let wrong = found.iter().zip(&expected).filter(|(found, expected)| found != expected).count();
                        assert_eq!(wrong, 0, "{what}: of {}", expected.len());
                        assert!(expected.iter().all(|sum| sum.abs() < (1 << 24) as f32), "{what}");
                    }
                }
            }
        }
    }
}
