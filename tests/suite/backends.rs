//! Other backends against flex. `CONTEXTLM_TEST_DEVICES` names them, such as `cpu,wgpu,libtorch`; without it, those of
//! this build but `libtorch-cuda`, whose device may not be there.

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Tensor};
use contextlm_core::{Backbone, BackboneConfig, ContextConfig, ContextLm, ContextLmConfig};
use contextlm_tests::{
    FUSIONS, POOLINGS, VOCABULARY, contextlm, cpu, global_norm, gpt2, gradients, ids, llama, neox, norm, tokens, values,
};

use crate::precision::Rounded;

/// The devices to be compared with flex; one that is named and not there is an error.
pub(crate) fn devices() -> Vec<(String, Device)> {
    let names: Vec<String> = match std::env::var("CONTEXTLM_TEST_DEVICES") {
        Ok(names) => names.split(',').map(|name| name.trim().to_string()).collect(),
        Err(_) => {
            contextlm_device::names().into_iter().filter(|name| *name != "libtorch-cuda").map(String::from).collect()
        }
    };
    let compared = |name: &String| ["wgpu", "libtorch", "libtorch-cuda", "cuda"].contains(&name.as_str());
    for name in &names {
        assert!(name == "cpu" || compared(name) || std::env::var("CONTEXTLM_TEST_DEVICES").is_err(), "device {name}");
    }
    let open = |name: String| match contextlm_device::device(&name) {
        Ok(device) => (name, device),
        Err(error) => panic!("{error}"),
    };
    names.into_iter().filter(compared).map(open).collect()
}

/// Where a definition in burn's operations is computed, for a device: on CUDA burn multiplies f32 as TF32.
pub(crate) fn reference(name: &str, device: &Device) -> Device {
    if name == "cuda" { cpu() } else { device.clone() }
}

/// Logits, loss and gradients.
pub(crate) struct Results {
    logits: Vec<f32>,
    loss: f64,
    gradients: Vec<(String, Vec<f32>)>,
}

/// Of several models of one shape: their numbers after one another, the mean of their losses.
pub(crate) fn together(results: Vec<Results>) -> Results {
    let loss = results.iter().map(|results| results.loss).sum::<f64>() / results.len() as f64;
    let add = |mut all: Results, next: Results| {
        all.logits.extend(next.logits);
        for ((path, gradient), (same, more)) in all.gradients.iter_mut().zip(next.gradients) {
            assert_eq!(*path, same);
            gradient.extend(more);
        }
        all
    };
    Results { loss, ..results.into_iter().reduce(add).unwrap() }
}

fn results(build: &dyn Fn(&Device) -> ContextLm, device: &Device) -> Results {
    results_of(build, device, 11)
}

/// Of two rows of a length.
pub(crate) fn results_of(build: &dyn Fn(&Device) -> ContextLm, device: &Device, length: usize) -> Results {
    let device = device.clone().autodiff();
    let model = build(&device);
    results_as(&model, &model, &device, length)
}

/// The same of the model with its parameters rounded to bf16, computing in the type.
pub(crate) fn rounded_results_of(
    build: &dyn Fn(&Device) -> ContextLm,
    device: &Device,
    length: usize,
    dtype: FloatDType,
) -> Results {
    let device = device.clone().autodiff();
    let model = build(&device).map(&mut Rounded);
    results_as(&model, &model.cast(dtype), &device, length)
}

/// Of `computing`, with gradients of the parameters of `model`.
fn results_as(model: &ContextLm, computing: &ContextLm, device: &Device, length: usize) -> Results {
    let vocabulary = model.backbone.spec().vocabulary;
    let (input, mut target) = (tokens(2, length, vocabulary, 71), tokens(2, length, vocabulary, 72));
    target[4] = -100;
    let input = ids(&input, 2, device);
    let loss = computing.loss(input.clone(), ids(&target, 2, device));
    Results {
        logits: values(computing.forward(input)),
        loss: loss.clone().into_scalar::<f64>(),
        gradients: gradients(model, loss),
    }
}

/// How far results may differ: DESIGN.md's section 5, and more in bf16.
#[derive(Clone, Copy)]
pub(crate) struct Tolerance {
    /// Of logits, over max(1, the largest).
    logits: f32,
    /// Of the loss, relative.
    loss: f64,
    /// Of each gradient tensor, as L2 of the difference over max(L2 of the tensor, `floor` x global norm).
    gradients: f64,
    floor: f64,
}

pub(crate) const F32: Tolerance = Tolerance { logits: 1e-4, loss: 1e-5, gradients: 1e-3, floor: 1e-4 };
/// bf16 against f32, with the same parameters; rounding adds up on the way back.
pub(crate) const BF16: Tolerance = Tolerance { logits: 2e-2, loss: 2e-2, gradients: 2e-2, floor: 1e-2 };

/// What is wrong, if there is something.
pub(crate) fn difference(found: &Results, expected: &Results, tolerance: Tolerance, what: &str) -> Option<String> {
    let largest = expected.logits.iter().fold(1.0f32, |largest, logit| largest.max(logit.abs()));
    let worst = found.logits.iter().zip(&expected.logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let loss = (found.loss - expected.loss).abs() / expected.loss.abs();
    let floor = tolerance.floor * global_norm(&expected.gradients);
    assert_eq!(found.gradients.len(), expected.gradients.len());
    let errors = found.gradients.iter().zip(&expected.gradients).map(|((path, found), (same, expected))| {
        assert_eq!(path, same);
        let difference: Vec<f32> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
        (norm(&difference) / norm(expected).max(floor), path)
    });
    let (gradient, path) = errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    let logits = worst / largest;
    let found = format!("{what}: logits {logits:.1e}, loss {loss:.1e}, gradients {gradient:.1e} ({path})");
    println!("\n{found}"); // shown by --nocapture
    let close = logits <= tolerance.logits && loss <= tolerance.loss && gradient <= tolerance.gradients;
    (!close).then_some(found)
}

fn compare(found: &Results, expected: &Results, tolerance: Tolerance, what: &str) {
    assert_eq!(difference(found, expected, tolerance, what), None);
}

fn check(backbone: BackboneConfig) {
    let mut wrong = Vec::new();
    for (name, device) in devices() {
        let mut compare = |build: &dyn Fn(&Device) -> ContextLm, what: String| {
            wrong.extend(difference(&results(build, &device), &results(build, &cpu()), F32, &what));
        };
        let plain = |device: &Device| ContextLmConfig::new(backbone.clone()).init(device).unwrap();
        compare(&plain, format!("{name}, plain"));
        for (fusion, pooling) in FUSIONS.into_iter().zip(POOLINGS.into_iter().cycle()) {
            let context = ContextConfig { fusion, pooling, chunk_size: 3, ..ContextConfig::default() };
            let build = |device: &Device| contextlm(backbone.clone(), context.clone(), device);
            compare(&build, format!("{name}, {fusion:?}, {pooling:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn gpt_2() {
    check(gpt2());
}

#[test]
fn gpt_neox() {
    check(neox());
}

#[test]
fn llama_family() {
    check(llama());
}

/// Bit by bit where every operation is a kernel of its own. On wgpu burn compiles neighbouring operations into one kernel,
/// and what is next to a norm, and so the order of its sum, differs by the contexts' addition, though it adds 0.
#[test]
fn a_retrofitted_model_starts_as_the_original() {
    for (name, device) in devices() {
        let (backbones, tolerance) = match name.as_str() {
            "wgpu" => (vec![gpt2()], Some(1e-5)),
            _ => (vec![gpt2(), neox(), llama()], None),
        };
        for backbone in backbones {
            crate::retrofit::check(backbone, &device, None, tolerance, &name);
        }
    }
}

/// The loss of many rows, in more than one slice of them.
#[test]
fn a_loss_in_slices() {
    use contextlm_kernels::{CrossEntropyOptions, linear_cross_entropy};
    let loss = |device: &Device| {
        let device = device.clone().autodiff();
        let noise = |count: usize, seed: u64| {
            let values = tokens(1, count, 1000, seed).into_iter().map(|value| value as f32 / 500.0 - 1.0);
            Tensor::<1>::from_floats(values.collect::<Vec<_>>().as_slice(), &device)
        };
        let hidden = noise(20 * 8, 1).reshape([20, 8]).require_grad();
        let weight = noise(VOCABULARY * 8, 2).reshape([VOCABULARY, 8]).require_grad();
        let targets = ids(&tokens(1, 20, VOCABULARY, 3), 1, &device).reshape([20]);
        let options = CrossEntropyOptions { divisor: 20.0, z_loss: 0.01, slice_rows: Some(7) };
        let loss = linear_cross_entropy(hidden.clone(), weight.clone(), targets, options);
        let gradients = loss.backward();
        let gradient = |of: Tensor<2>| values(of.grad(&gradients).unwrap());
        let gradients = vec![("hidden".into(), gradient(hidden)), ("weight".into(), gradient(weight))];
        Results { logits: Vec::new(), loss: loss.into_scalar::<f64>(), gradients }
    };
    for (name, device) in devices() {
        compare(&loss(&device), &loss(&cpu()), F32, &name);
    }
}

/// The comparison finds a difference.
#[test]
fn a_wrong_gradient_is_seen() {
    let build = |device: &Device| contextlm(gpt2(), ContextConfig::default(), device);
    let expected = results(&build, &cpu());
    compare(&results(&build, &cpu()), &expected, F32, "flex twice");
    let mut wrong = results(&build, &cpu());
    wrong.gradients[3].1[0] += 0.1;
    assert!(std::panic::catch_unwind(|| compare(&wrong, &expected, F32, "wrong")).is_err());
}
