//! Linear maps and their gradients in bf16 and f16 on every device of this build but flex, on whole numbers: products and sums
//! are exact in f32, so that the results are those of flex bit by bit, rounded once.

use burn::tensor::{DType, Device, Tensor, TensorData};
use contextlm_kernels::linear;

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
    let flex = contextlm_device::device("cpu").unwrap().autodiff();
    let rounded = |values: &[f32], dtype: DType| {
        let values: Tensor<1> = Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &flex);
        values.cast(dtype).cast(DType::F32).into_data().try_to_vec::<f32>().unwrap()
    };
    // Rows, inputs and outputs: whole tiles of the kernels for GPUs, more and less than one, and few with a long way.
    let sizes = [[128, 64, 128], [40, 200, 328], [136, 520, 40], [64, 4096, 72], [1032, 520, 776]];
    // Where there are 50 outputs the rows of the output do not begin at multiples of 16 bytes; with 49, not of 4. Their
    // gradients are of products that CUDA would tune for half a minute each.
    let odd = [[40, 64, 49], [72, 72, 50]];
    for (name, device) in devices() {
        // Without a GPU, wgpu takes minutes to tune products of f16, and they are burn's.
        if name == "wgpu" {
            continue;
        }
        let device = device.autodiff();
        for dtype in [DType::BF16, DType::F16] {
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
            for [rows, inputs, outputs] in odd {
                let run = |dtype: DType, device: &Device| {
                    let leaf = |shape, step| whole(shape, step, device).cast(dtype);
                    numbers(map(leaf([rows, inputs], 3), leaf([outputs, inputs], 8), true))
                };
                let what = format!("{name}, {dtype:?}, {outputs} outputs");
                assert!(run(dtype, &device) == rounded(&run(DType::F32, &flex), dtype), "{what}");
            }
        }
    }
}
