//! Other backends against flex. `CONTEXTLM_TEST_DEVICES` names them, such as `cpu,wgpu,libtorch`; without it, those of
//! this build.

use burn::tensor::{Device, Tensor};
use contextlm_core::{BackboneConfig, ContextConfig, ContextLm, ContextLmConfig};
use contextlm_tests::{
    FUSIONS, POOLINGS, VOCABULARY, contextlm, cpu, global_norm, gpt2, gradients, ids, llama, neox, norm, tokens, values,
};

/// The devices to be compared with flex; one that is named and not there is an error.
pub(crate) fn devices() -> Vec<(String, Device)> {
    let names: Vec<String> = match std::env::var("CONTEXTLM_TEST_DEVICES") {
        Ok(names) => names.split(',').map(|name| name.trim().to_string()).collect(),
        Err(_) => contextlm_device::names().into_iter().map(String::from).collect(),
    };
    let compared = |name: &String| ["wgpu", "libtorch"].contains(&name.as_str());
    for name in &names {
        assert!(name == "cpu" || compared(name) || std::env::var("CONTEXTLM_TEST_DEVICES").is_err(), "device {name}");
    }
    let open = |name: String| match contextlm_device::device(&name) {
        Ok(device) => (name, device),
        Err(error) => panic!("{error}"),
    };
    names.into_iter().filter(compared).map(open).collect()
}

/// Logits, loss and gradients.
struct Results {
    logits: Vec<f32>,
    loss: f64,
    gradients: Vec<(String, Vec<f32>)>,
}

fn results(build: &dyn Fn(&Device) -> ContextLm, device: &Device) -> Results {
    let device = device.clone().autodiff();
    let model = build(&device);
    let (input, mut target) = (tokens(2, 11, VOCABULARY, 71), tokens(2, 11, VOCABULARY, 72));
    target[4] = -100;
    let input = ids(&input, 2, &device);
    let loss = model.loss(input.clone(), ids(&target, 2, &device));
    Results {
        logits: values(model.forward(input)),
        loss: loss.clone().into_scalar::<f64>(),
        gradients: gradients(&model, loss),
    }
}

fn compare(found: &Results, expected: &Results, what: &str) {
    let largest = expected.logits.iter().fold(1.0f32, |largest, logit| largest.max(logit.abs()));
    let worst = found.logits.iter().zip(&expected.logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= 1e-4 * largest, "{what}: logits differ by {worst}, largest {largest}");
    assert!((found.loss - expected.loss).abs() <= 1e-5 * expected.loss.abs(), "{what}: loss {}", found.loss);
    let floor = 1e-4 * global_norm(&expected.gradients);
    assert_eq!(found.gradients.len(), expected.gradients.len());
    for ((path, found), (same, expected)) in found.gradients.iter().zip(&expected.gradients) {
        assert_eq!(path, same);
        let difference: Vec<f32> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
        let error = norm(&difference) / norm(expected).max(floor);
        assert!(error <= 1e-3, "{what}: gradient of {path} differs by {error:.2e}");
    }
}

fn check(backbone: BackboneConfig) {
    for (name, device) in devices() {
        let plain = |device: &Device| ContextLmConfig::new(backbone.clone()).init(device).unwrap();
        compare(&results(&plain, &device), &results(&plain, &cpu()), &format!("{name}, plain"));
        for (fusion, pooling) in FUSIONS.into_iter().zip(POOLINGS.into_iter().cycle()) {
            let context = ContextConfig { fusion, pooling, chunk_size: 3, ..ContextConfig::default() };
            let build = |device: &Device| contextlm(backbone.clone(), context.clone(), device);
            let what = format!("{name}, {fusion:?}, {pooling:?}");
            compare(&results(&build, &device), &results(&build, &cpu()), &what);
        }
    }
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
        compare(&loss(&device), &loss(&cpu()), &name);
    }
}

/// The comparison finds a difference.
#[test]
fn a_wrong_gradient_is_seen() {
    let build = |device: &Device| contextlm(gpt2(), ContextConfig::default(), device);
    let expected = results(&build, &cpu());
    compare(&results(&build, &cpu()), &expected, "flex twice");
    let mut wrong = results(&build, &cpu());
    wrong.gradients[3].1[0] += 0.1;
    assert!(std::panic::catch_unwind(|| compare(&wrong, &expected, "wrong")).is_err());
}
