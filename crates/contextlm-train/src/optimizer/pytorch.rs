//! Clipping, AdamW and Muon against the numbers that PyTorch makes, which `tools/write_optimizer_fixture.py` writes down.

mod muon;

use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::TensorData;
use serde::Deserialize;

use super::*;
use crate::clip_grad_norm;

#[derive(Deserialize)]
struct Fixture {
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    grad_clip: f64,
    start: Values,
    steps: Vec<Expected>,
}

#[derive(Deserialize)]
struct Values {
    matrix: Vec<f32>,
    vector: Vec<f32>,
}

#[derive(Deserialize)]
struct Expected {
    lr: f64,
    matrix_gradient: Vec<f32>,
    vector_gradient: Vec<f32>,
    norm: f64,
    matrix_clipped: Vec<f32>,
    vector_clipped: Vec<f32>,
    matrix: Vec<f32>,
    vector: Vec<f32>,
}

#[derive(Module, Debug)]
struct Model {
    matrix: Param<Tensor<2>>,
    vector: Param<Tensor<1>>,
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

#[track_caller]
fn close<const D: usize>(found: Tensor<D>, expected: &[f32], what: &str) {
    let found: Vec<f32> = found.into_data().try_to_vec().unwrap();
    for (found, expected) in found.into_iter().zip(expected) {
        assert!((found - expected).abs() <= 2e-6 * expected.abs().max(0.1), "{what}: {found} instead of {expected}");
    }
}

#[test]
fn six_steps_are_those_of_pytorch() {
    let text = include_str!("../../tests/fixtures/adamw.json");
    let fixture: Fixture = serde_json::from_str(text).unwrap();
    let Fixture { betas, eps, weight_decay, grad_clip, start, steps } = fixture;
    let config = OptimizerConfig { betas, eps, weight_decay, grad_clip, ..OptimizerConfig::default() };
    let device = contextlm_device::device("cpu").unwrap().autodiff();
    let inner = device.clone().inner();
    let mut model = Model {
        matrix: Param::from_tensor(tensor(&start.matrix, [3, 4], &device)),
        vector: Param::from_tensor(tensor(&start.vector, [4], &device)),
    };
    let mut optimizer = Optimizer::new(&config);
    let mut clipped = 0;
    for (number, step) in steps.iter().enumerate() {
        let mut gradients = GradientsParams::new();
        gradients.register(model.matrix.id, tensor(&step.matrix_gradient, [3, 4], &inner));
        gradients.register(model.vector.id, tensor(&step.vector_gradient, [4], &inner));
        let norm = clip_grad_norm(&model, &mut gradients, grad_clip);
        assert!((norm - step.norm).abs() <= 1e-6 * step.norm, "step {number}: norm {norm} instead of {}", step.norm);
        clipped += usize::from(norm > grad_clip);
        close(gradients.get::<2>(model.matrix.id).unwrap(), &step.matrix_clipped, &format!("step {number}, clipped"));
        close(gradients.get::<1>(model.vector.id).unwrap(), &step.vector_clipped, &format!("step {number}, clipped"));
        model = optimizer.step(step.lr, model, gradients);
        close(model.matrix.val(), &step.matrix, &format!("step {number}, matrix"));
        close(model.vector.val(), &step.vector, &format!("step {number}, vector"));
    }
    assert_eq!((steps.len(), clipped), (6, 3));
}
