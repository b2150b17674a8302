//! Muon against the numbers that PyTorch makes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Fixture {
    /// [outputs, inputs].
    shapes: BTreeMap<String, [usize; 2]>,
    rates: Vec<f64>,
    start: Matrices,
    gradients: Vec<Matrices>,
    cases: Vec<Case>,
}

type Matrices = BTreeMap<String, Vec<f32>>;

#[derive(Deserialize)]
struct Case {
    #[serde(flatten)]
    options: serde_json::Value,
    /// After the last step, as PyTorch has it.
    bf16: Matrices,
    /// After every step, without PyTorch's rounding to bf16.
    f32: Vec<Matrices>,
}

/// Maps as burn has them, [inputs, outputs], and the one that lies the other way.
#[derive(Module, Debug)]
struct Model {
    context: Context,
}

#[derive(Module, Debug)]
struct Context {
    maps: Vec<Param<Tensor<2>>>,
    embedding: Embedding,
}

#[derive(Module, Debug)]
struct Embedding {
    pool: Pool,
}

#[derive(Module, Debug)]
struct Pool {
    weight: Param<Tensor<2>>,
}

/// The L2 norm of the difference, over that of the first.
fn relative(a: &[f32], b: impl Iterator<Item = f32>) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    squares(&mut a.iter().zip(b).map(|(a, b)| a - b)) / squares(&mut a.iter().copied())
}

#[test]
fn steps_are_those_of_pytorch() {
    let fixture: Fixture = serde_json::from_str(include_str!("../../../tests/fixtures/muon.json")).unwrap();
    let device = contextlm_device::device("cpu").unwrap().autodiff();
    let inner = device.clone().inner();
    for case in &fixture.cases {
        let mut options = case.options.clone();
        options["name"] = "muon".into();
        let config: OptimizerConfig = serde_json::from_value(options).unwrap();
        let matrix = |of: &Matrices, name: &str, device: &Device| tensor(&of[name], fixture.shapes[name], device);
        let names: Vec<_> = fixture.shapes.keys().collect();
        let map = |name: &&String| Param::from_tensor(matrix(&fixture.start, name, &device).transpose());
        let pool = Pool { weight: Param::from_tensor(matrix(&fixture.start, "tall", &device)) };
        let context = Context { maps: names.iter().map(map).collect(), embedding: Embedding { pool } };
        let mut model = Model { context };
        let mut optimizer = Optimizer::new(&config);
        for (number, (rate, gradient)) in fixture.rates.iter().zip(&fixture.gradients).enumerate() {
            let mut gradients = GradientsParams::new();
            for (name, map) in names.iter().zip(&model.context.maps) {
                gradients.register(map.id, matrix(gradient, name, &inner).transpose());
            }
            gradients.register(model.context.embedding.pool.weight.id, matrix(gradient, "tall", &inner));
            model = optimizer.step(*rate, model, gradients);

            let maps = names.iter().zip(&model.context.maps).map(|(name, map)| (name.as_str(), map.val().transpose()));
            for (name, found) in maps.chain([("tall", model.context.embedding.pool.weight.val())]) {
                let found: Vec<f32> = found.into_data().try_to_vec().unwrap();
                let expected = &case.f32[number][name];
                let off = relative(expected, found.iter().copied());
                assert!(off <= 1e-5, "{:?}, step {number}, {name}: off by {off:.1e}", config.adjust_lr_fn);
                if number + 1 == fixture.rates.len() {
                    let start = &fixture.start[name];
                    let change = |of: &[f32]| of.iter().zip(start).map(|(x, start)| x - start).collect::<Vec<_>>();
                    let off = relative(&change(&case.bf16[name]), change(&found).into_iter());
                    assert!(off <= 3e-2, "{:?}, {name}: off by {off:.1e} of the change", config.adjust_lr_fn);
                }
            }
        }
    }
}
