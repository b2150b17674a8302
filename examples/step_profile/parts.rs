//! The parts of a step.

use burn::optim::{AdamWConfig, AdamWState, Optimizer};
use burn::tensor::{Device, Distribution, Int, Tensor};
use contextlm_examples::StepShape;
use contextlm_kernels::{
    AdamWStep, CrossEntropyOptions, KeyRanges, QkvOrder, adamw, attention_of_projection, embedding, gelu_tanh,
    layer_norm, linear, linear_cross_entropy,
};

/// One kind of operation.
pub struct Part {
    pub name: &'static str,
    /// How often a step has it.
    pub times: usize,
    /// Of one time, forward and backward: operations of matrix products, and bytes of inputs and outputs.
    pub flops: f64,
    pub bytes: f64,
    pub run: Box<dyn FnMut()>,
}

/// All of them, largest tensors first.
pub fn parts(shape: &StepShape, device: &Device) -> Vec<Part> {
    let StepShape { width, layers, heads, vocabulary, rows, length } = *shape;
    let (tape, tokens) = (device.clone().autodiff(), rows * length);
    let states = |factor: usize| random([rows, length, factor * width], &tape);
    let bytes = |elements: usize| 4.0 * elements as f64;
    let mut parts = vec![linear_maps(shape, &tape), head(shape, &tape)];

    let (ranges, qkv) = (KeyRanges::causal(0, length), states(3));
    parts.push(Part {
        name: "attention",
        times: layers,
        // Two products forward and five backward, half of each masked.
        flops: 7.0 * (rows * heads * length * length * width / heads) as f64,
        bytes: bytes(tokens * width * (3 + 1 + 3 + 1 + 1 + 3)),
        run: Box::new(move || {
            let qkv = qkv.clone().require_grad();
            let scale = 1.0 / ((width / heads) as f64).sqrt();
            attention_of_projection(qkv, heads, QkvOrder::Parts, None, &ranges, scale).backward();
        }),
    });
    let x = states(4);
    parts.push(Part {
        name: "GELU",
        times: layers,
        flops: 0.0,
        bytes: bytes(tokens * 4 * width * 5),
        run: Box::new(move || drop(gelu_tanh(x.clone().require_grad()).backward())),
    });
    let (x, weight, bias) = (states(1), random([width], &tape), random([width], &tape));
    parts.push(Part {
        name: "layer norm",
        times: 2 * layers + 1,
        flops: 0.0,
        bytes: bytes(tokens * width * 5),
        run: Box::new(move || {
            let [weight, bias] = [&weight, &bias].map(|tensor| tensor.clone().require_grad());
            layer_norm(x.clone().require_grad(), weight, bias, 1e-5).backward();
        }),
    });
    let (x, y) = (states(1), states(1));
    parts.push(Part {
        name: "residual sum",
        times: 2 * layers,
        flops: 0.0,
        // The gradient is handed on to both.
        bytes: bytes(tokens * width * 3),
        run: Box::new(move || drop((x.clone().require_grad() + y.clone().require_grad()).backward())),
    });
    let (weight, ids) = (random([vocabulary, width], &tape), Tensor::<1, Int>::arange(0..tokens as i64, &tape));
    let ids = ids.remainder_scalar(vocabulary as i64).reshape([rows, length]);
    parts.push(Part {
        name: "embedding",
        times: 1,
        flops: 0.0,
        bytes: bytes(tokens * width * 3 + vocabulary * width),
        run: Box::new(move || drop(embedding(weight.clone().require_grad(), ids.clone()).backward())),
    });
    parts.push(optimizer(shape, device));
    parts
}

/// The four maps of every block.
fn linear_maps(shape: &StepShape, tape: &Device) -> Part {
    let StepShape { width, layers, rows, length, .. } = *shape;
    let (shapes, tokens) = ([(1, 3), (1, 1), (1, 4), (4, 1)], rows * length);
    let maps = shapes.map(|(from, to)| {
        let x = random([rows, length, from * width], tape);
        (x, random([from * width, to * width], tape), random([to * width], tape))
    });
    Part {
        name: "linear maps",
        times: layers,
        flops: 6.0 * (tokens * 12 * width * width) as f64,
        bytes: 4.0 * (3 * 12 * width * width + 3 * 15 * tokens * width) as f64,
        run: Box::new(move || {
            for (x, weight, bias) in &maps {
                let (x, weight) = (x.clone().require_grad(), weight.clone().require_grad());
                linear(x, weight, Some(bias.clone().require_grad())).backward();
            }
        }),
    }
}

/// LM head and loss.
fn head(shape: &StepShape, tape: &Device) -> Part {
    let StepShape { width, vocabulary, rows, length, .. } = *shape;
    let tokens = rows * length;
    let (hidden, weight) = (random([tokens, width], tape), random([vocabulary, width], tape));
    let targets = Tensor::<1, Int>::arange(0..tokens as i64, tape).remainder_scalar(vocabulary as i64);
    Part {
        name: "head and loss",
        times: 1,
        flops: 6.0 * (tokens * width * vocabulary) as f64,
        bytes: 4.0 * (2 * (tokens + vocabulary) * width) as f64,
        run: Box::new(move || {
            let options = CrossEntropyOptions { divisor: tokens as f64, ..CrossEntropyOptions::default() };
            let (hidden, weight) = (hidden.clone().require_grad(), weight.clone().require_grad());
            linear_cross_entropy(hidden, weight, targets.clone(), options).backward();
        }),
    }
}

/// AdamW over all parameters, as one tensor.
fn optimizer(shape: &StepShape, device: &Device) -> Part {
    let StepShape { width, layers, vocabulary, .. } = *shape;
    let count = layers * 12 * width * width + 2 * vocabulary * width;
    let (mut x, gradient) = (random([count], device), random([count], device));
    let rule = AdamWConfig::new().build();
    let mut state: Option<AdamWState<1>>;
    (x, state) = rule.step(1e-3, x, gradient.clone(), None);
    Part {
        name: "AdamW",
        times: 1,
        flops: 0.0,
        bytes: 4.0 * (7 * count) as f64,
        run: Box::new(move || {
            let Some(mut held) = state.take() else { return };
            let numbers = AdamWStep { lr: 1e-3, beta_1: 0.9, beta_2: 0.95, eps: 1e-8, weight_decay: 0.1, time: 2 };
            let moments = [&mut held.momentum.moment_1, &mut held.momentum.moment_2];
            if adamw(&mut x, gradient.clone(), moments, numbers).is_some() {
                state = Some(held);
            } else {
                (x, state) = rule.step(1e-3, x.clone(), gradient.clone(), Some(held));
            }
        }),
    }
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}
