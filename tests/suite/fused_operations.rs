//! The operations of `contextlm-kernels` on every device of this build but flex against their definitions in burn's
//! operations, values and gradients: in f32, and in bf16 and f16, where the device has them, against f32 on the same rounded
//! inputs.

use burn::tensor::activation::{log_softmax, sigmoid};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use contextlm_kernels::{
    CrossEntropyOptions, IGNORE_INDEX, embedding, gelu, gelu_tanh, layer_norm, linear, linear_cross_entropy, rms_norm,
    swiglu,
};
use contextlm_tests::cpu;

use crate::backends::{devices, reference};
use crate::fused_attention::{assert_near, noise, values};

/// From matrices to a matrix.
type Operation = fn(&[Tensor<2>]) -> Tensor<2>;

fn row(x: &Tensor<2>) -> Tensor<1> {
    x.clone().flatten(0, 1)
}

/// Compares values and gradients of an operation and its definition. `shapes` gives those of its inputs for some rows of a
/// width; the first is also read where its elements do not stand in the order of its rows.
fn compare(what: &str, operation: Operation, definition: Operation, shapes: fn(usize, usize) -> Vec<[usize; 2]>) {
    for (name, device) in devices() {
        let dtypes = [(DType::F32, (1e-5, 1e-4)), (DType::BF16, (2e-2, 2e-2)), (DType::F16, (2e-2, 2e-2))];
        let gpu = !name.starts_with("libtorch");
        let (device, reference) = (device.clone().autodiff(), reference(&name, &device).autodiff());
        for (dtype, (of_values, of_gradients)) in dtypes {
            if gpu && !device.supports_dtype(dtype) {
                continue;
            }
            // Every size is another kernel to compile on a GPU, and to tune where there is none.
            let sizes: &[_] = match (name.as_str(), dtype) {
                ("wgpu", DType::F32) => &[(3, 33), (192, 160)],
                ("wgpu", _) => &[],
                // A norm of a single number is nothing but rounding.
                ("cuda", _) => &[(3, 33), (192, 160), (5, 2048)],
                _ => &[(0, 8), (1, 1), (1, 16), (3, 33), (257, 40), (5, 2048)],
            };
            for &(rows, width) in sizes {
                for turned in [false, true] {
                    if name == "wgpu" && turned != (rows == 3) {
                        continue;
                    }
                    let shapes = shapes(rows, width);
                    let expected = run(definition, &shapes, turned, [dtype, DType::F32], &reference);
                    let found = run(operation, &shapes, turned, [dtype; 2], &device);
                    for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
                        let tolerance = if part == 0 { of_values } else { of_gradients };
                        let what =
                            format!("{name}, {what}, {dtype:?}, {rows} of {width}, turned {turned}, part {part}");
                        assert_near(&what, found, expected, tolerance);
                    }
                }
            }
        }
    }
}

/// The output, and the gradients of the inputs, which are rounded to the first type and computed with in the second.
fn run(
    operation: Operation,
    shapes: &[[usize; 2]],
    turned: bool,
    [rounded, computed]: [DType; 2],
    device: &Device,
) -> Vec<Vec<f64>> {
    let leaf = |(number, [rows, width]): (usize, &[usize; 2])| {
        let turned = turned && number == 0;
        let x: Tensor<2> = noise(if turned { [*width, *rows] } else { [*rows, *width] }, 1.0 + number as f32, device);
        x.cast(rounded).cast(computed).detach().require_grad()
    };
    let leaves: Vec<Tensor<2>> = shapes.iter().enumerate().map(leaf).collect();
    let mut inputs = leaves.clone();
    if turned {
        inputs[0] = inputs[0].clone().transpose();
    }
    let y = operation(&inputs).cast(DType::F32);
    let upstream: Tensor<2> = noise(y.dims(), 9.0, device);
    let gradients = (y.clone() * upstream.cast(rounded).cast(DType::F32)).sum().backward();
    let of = |leaf: &Tensor<2>| values(leaf.grad(&gradients).unwrap().cast(DType::F32));
    [vec![values(y)], leaves.iter().map(of).collect()].concat()
}

#[test]
fn norms() {
    let shapes = |rows, width| vec![[rows, width], [1, width], [1, width]];
    let definition = |x: &[Tensor<2>]| {
        let centred = x[0].clone() - x[0].clone().mean_dim(1);
        let variance = centred.clone().square().mean_dim(1);
        centred / (variance + 1e-5).sqrt() * x[1].clone() + x[2].clone()
    };
    compare("layer norm", |x| layer_norm(x[0].clone(), row(&x[1]), row(&x[2]), 1e-5), definition, shapes);
    let definition = |x: &[Tensor<2>]| {
        let root = (x[0].clone().square().mean_dim(1) + 1e-5).sqrt();
        x[0].clone() / root * x[1].clone()
    };
    let shapes = |rows, width| vec![[rows, width], [1, width]];
    compare("RMS norm", |x| rms_norm(x[0].clone(), row(&x[1]), 1e-5), definition, shapes);
}

#[test]
fn activations() {
    let one = |rows, width| vec![[rows, width]];
    let by_erf = |x: &[Tensor<2>]| x[0].clone() * ((x[0].clone() / 2f64.sqrt()).erf() + 1.0) * 0.5;
    compare("GELU", |x| gelu(x[0].clone()), by_erf, one);
    let by_tanh = |x: &[Tensor<2>]| {
        let x = x[0].clone();
        let inner = (x.clone() + x.clone() * x.clone() * x.clone() * 0.044715) * (2.0 / core::f64::consts::PI).sqrt();
        x * (inner.tanh() + 1.0) * 0.5
    };
    compare("GELU by tanh", |x| gelu_tanh(x[0].clone()), by_tanh, one);
    let gated = |x: &[Tensor<2>]| x[0].clone() * sigmoid(x[0].clone()) * x[1].clone();
    let two = |rows, width| vec![[rows, width]; 2];
    compare("SwiGLU", |x| swiglu(x[0].clone(), x[1].clone()), gated, two);
}

/// Outputs of a linear map of such a width: few, or enough for a product that is chosen on GPUs.
fn outputs(width: usize) -> usize {
    if width == 160 { 128 } else { 7 }
}

#[test]
fn linear_maps() {
    let shapes = |rows, width| vec![[rows, width], [width, outputs(width)], [1, outputs(width)]];
    let biased = |x: &[Tensor<2>]| {
        // As a batch of rows, which burn would multiply one after the other.
        let rows = x[0].clone().unsqueeze_dim::<3>(1);
        linear(rows, x[1].clone(), Some(row(&x[2]))).squeeze_dim(1)
    };
    compare("map with bias", biased, |x| x[0].clone().matmul(x[1].clone()) + x[2].clone(), shapes);
    let plain = |x: &[Tensor<2>]| linear(x[0].clone(), x[1].clone().transpose(), None);
    let shapes = |rows, width| vec![[rows, width], [outputs(width), width]];
    compare("map", plain, |x| x[0].clone().matmul(x[1].clone().transpose()), shapes);
}

/// The exact GELU has a kernel in these types, on GPUs.
#[test]
fn gelu_in_lower_types() {
    let run = |shape: [usize; 4], rounded: DType, computed: DType, device: &Device| {
        let x = noise::<4>(shape, 1.0, device).cast(rounded).cast(computed).detach().require_grad();
        // Of every row of the batch but its last entry.
        let part = x.clone().narrow(2, 0, shape[2] - 1);
        let y = gelu(part).cast(DType::F32);
        let upstream: Tensor<4> = noise(y.dims(), 2.0, device).cast(rounded).cast(DType::F32);
        let gradients = (y.clone() * upstream).sum().backward();
        [values(y), values(x.grad(&gradients).unwrap().cast(DType::F32))]
    };
    for (name, device) in devices() {
        for dtype in [DType::BF16, DType::F16].into_iter().filter(|dtype| device.supports_dtype(*dtype)) {
            for shape in [[1, 1, 2, 1], [2, 1, 4, 256], [3, 2, 5, 33], [1, 1, 300, 64]] {
                let found = run(shape, dtype, dtype, &device.clone().autodiff());
                let expected = run(shape, dtype, DType::F32, &cpu().autodiff());
                for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    assert_near(&format!("{name}, {dtype:?}, {shape:?}, part {part}"), found, expected, 1e-2);
                }
            }
        }
    }
}

/// Models in lower types keep their vectors in f32, and so is the gradient of a bias. On GPUs through CubeCL it is not rounded to
/// the lower type on its way.
#[test]
fn a_bias_in_f32_of_a_map_in_lower_types() {
    let run = |rounded: DType, computed: DType, device: &Device| {
        let leaf = |shape, seed| noise::<2>(shape, seed, device).cast(rounded).cast(computed).detach().require_grad();
        let (x, weight, bias) = (leaf([6, 32], 1.0), leaf([32, 24], 2.0), noise([24], 3.0, device).require_grad());
        let y = linear(x.clone(), weight.clone(), Some(bias.clone()));
        assert_eq!(y.dtype(), computed);
        let upstream: Tensor<2> = noise([6, 24], 4.0, device).cast(rounded).cast(DType::F32);
        let gradients = (y.clone().cast(DType::F32) * upstream).sum().backward();
        let of_bias = bias.grad(&gradients).unwrap();
        assert_eq!(of_bias.dtype(), DType::F32);
        let of = |leaf: &Tensor<2>| values(leaf.grad(&gradients).unwrap().cast(DType::F32));
        [values(y.cast(DType::F32)), of(&x), of(&weight), values(of_bias)]
    };
    for (name, device) in devices().into_iter().chain([("cpu".to_string(), cpu())]) {
        let cubecl = ["wgpu", "cuda"].contains(&name.as_str());
        for dtype in [DType::BF16, DType::F16].into_iter().filter(|dtype| device.supports_dtype(*dtype)) {
            let expected = run(dtype, DType::F32, &cpu().autodiff());
            let found = run(dtype, dtype, &device.clone().autodiff());
            for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let tolerance = if cubecl && part == 3 { 1e-6 } else { 1e-2 };
                assert_near(&format!("{name}, {dtype:?}, part {part}"), found, expected, tolerance);
            }
        }
    }
}

/// Of a table: fewer than there are tokens, one of which nobody uses.
const ENTRIES: usize = 23;

/// The entries of so many tokens.
fn entries(tokens: usize, device: &Device) -> Tensor<1, Int> {
    let of_tokens: Vec<_> = (0..tokens).map(|token| (token * token % (ENTRIES - 1)) as i64).collect();
    Tensor::from_data(TensorData::new(of_tokens, [tokens]), &device.clone().without_autodiff())
}

#[test]
fn embeddings() {
    let rows = |x: &[Tensor<2>]| {
        let numbers = entries(x[1].dims()[0], &x[0].device()).unsqueeze();
        embedding(x[0].clone(), numbers).squeeze_dim(0) * x[1].clone()
    };
    let definition = |x: &[Tensor<2>]| x[0].clone().select(0, entries(x[1].dims()[0], &x[0].device())) * x[1].clone();
    compare("embedding", rows, definition, |rows, width| vec![[ENTRIES, width], [rows.max(1), width]]);
}

const VOCABULARY: usize = 67;

/// Some of which are ignored.
fn targets(rows: usize, device: &Device) -> Tensor<1, Int> {
    let of_row = |row: usize| if row % 5 == 2 { IGNORE_INDEX } else { (row * 31 % VOCABULARY) as i64 };
    Tensor::from_data(TensorData::new((0..rows).map(of_row).collect::<Vec<_>>(), [rows]), device)
}

/// Makes logits near 1, which bf16 has to three digits.
fn scaled(x: &Tensor<2>) -> Tensor<2> {
    x.clone() / (x.dims()[1] as f64).sqrt()
}

#[test]
fn the_loss() {
    let shapes = |rows, width| vec![[rows, width], [VOCABULARY, width]];
    // Slices of 100 rows, the last of them shorter.
    let loss = |x: &[Tensor<2>]| {
        let options = CrossEntropyOptions { divisor: 4.0, z_loss: 0.01, slice_rows: Some(100) };
        let targets = targets(x[0].dims()[0], &x[0].device().without_autodiff());
        linear_cross_entropy(scaled(&x[0]), x[1].clone(), targets, options).reshape([1, 1])
    };
    let definition = |x: &[Tensor<2>]| {
        let (rows, device) = (x[0].dims()[0], x[0].device());
        if rows == 0 {
            return (x[0].clone().sum() + x[1].clone().sum()).mul_scalar(0.0).reshape([1, 1]);
        }
        let targets = targets(rows, &device).reshape([rows, 1]);
        let known = targets.clone().not_equal_elem(IGNORE_INDEX).float();
        let logits = scaled(&x[0]).matmul(x[1].clone().transpose());
        let targets = targets.clamp_min(0);
        let log_p = log_softmax(logits.clone(), 1).gather(1, targets.clone());
        let normaliser = logits.gather(1, targets) - log_p.clone();
        ((normaliser.square() * 0.01 - log_p) * known).sum().div_scalar(4.0).reshape([1, 1])
    };
    compare("loss", loss, definition, shapes);
}
