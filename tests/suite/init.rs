//! First values: what a model starts from decides how it trains.

use contextlm_core::{
    BackboneConfig, ContextConfig, ContextLm, ContextLmConfig, FusionKind, Gpt2Config, GptNeoXConfig, Pooling,
};
use contextlm_tests::{FUSIONS, cpu, parameters};

const RANGE: f64 = 0.02;
const LAYERS: usize = 8;
const WIDTH: usize = 48;

/// Wide enough that a standard deviation is known within a few percent.
fn gpt2() -> BackboneConfig {
    BackboneConfig::Gpt2(Gpt2Config {
        vocab_size: 211,
        n_positions: 64,
        n_embd: WIDTH,
        n_layer: LAYERS,
        n_head: 4,
        initializer_range: RANGE,
        ..Gpt2Config::default()
    })
}

fn neox() -> BackboneConfig {
    BackboneConfig::GptNeoX(GptNeoXConfig {
        vocab_size: 211,
        hidden_size: WIDTH,
        num_hidden_layers: LAYERS,
        num_attention_heads: 4,
        intermediate_size: 4 * WIDTH,
        max_position_embeddings: 64,
        rotary_pct: Some(0.5),
        initializer_range: RANGE,
        ..GptNeoXConfig::default()
    })
}

/// Every parameter under its name in a model file, with the shape it has here.
fn values(model: &ContextLm) -> Vec<(String, Vec<f32>)> {
    let names = model.tensors();
    let name = |path: &str| names.iter().find(|tensor| tensor.path == path).unwrap().name.name.clone();
    parameters(model).into_iter().map(|(path, values)| (name(&path), values)).collect()
}

fn deviation(values: &[f32]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    (values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count).sqrt()
}

/// Norm weights 1, biases 0, all else normal with the standard deviation that `of` gives; how many are drawn.
fn check(model: &ContextLm, of: impl Fn(&str) -> f64) -> usize {
    let mut drawn = 0;
    for (name, values) in values(model) {
        let constant = match name.rsplit('.').next() {
            Some("bias") => Some(0.0),
            _ if name.contains("ln_") || name.contains("norm") => Some(1.0),
            _ => None,
        };
        if let Some(expected) = constant {
            assert!(values.iter().all(|&value| value == expected), "{name}: not all {expected}");
            continue;
        }
        let (found, std) = (deviation(&values), of(&name));
        // Four standard errors of a deviation.
        let error = 4.0 * std / (2.0 * values.len() as f64).sqrt();
        assert!((found - std).abs() <= error, "{name}: standard deviation {found:.5}, not {std:.5}");
        drawn += 1;
    }
    drawn
}

#[test]
fn gpt2_scales_the_maps_into_the_stream_by_depth_and_the_predictor_by_its_own() {
    let context = ContextConfig { predictor_layers: 3, ..ContextConfig::default() };
    let model = ContextLmConfig::new(gpt2()).with_context(context).init(&cpu()).unwrap();
    let drawn = check(&model, |name| match (name.ends_with("c_proj.weight"), name.starts_with("context.")) {
        (true, false) => RANGE / (2.0 * LAYERS as f64).sqrt(),
        (true, true) => RANGE / (2.0 * 3.0_f64).sqrt(),
        _ if name == "context.initial" => 1.0,
        _ => RANGE,
    });
    assert_eq!(drawn, 2 + 4 * (LAYERS + 3) + 1);
}

#[test]
fn neox_draws_every_map_alike() {
    let context = ContextConfig { predictor_layers: 3, ..ContextConfig::default() };
    let model = ContextLmConfig::new(neox()).with_context(context).init(&cpu()).unwrap();
    let drawn = check(&model, |name| if name == "context.initial" { 1.0 } else { RANGE });
    assert_eq!(drawn, 2 + 4 * (LAYERS + 3) + 1);
}

/// At 0, but drawn where it meets a norm: the norm of a zero vector has a gradient of 1/sqrt(eps).
#[test]
fn the_initial_context_is_drawn_where_it_is_normed() {
    for fusion in FUSIONS {
        let context = ContextConfig { fusion, ..ContextConfig::default() };
        let model = ContextLmConfig::new(gpt2()).with_context(context).init(&cpu()).unwrap();
        let all = values(&model);
        let initial = &all.iter().find(|(name, _)| name == "context.initial").unwrap().1;
        if matches!(fusion, FusionKind::NormedAdd | FusionKind::Interleave) {
            assert!((deviation(initial) - 1.0).abs() < 0.5, "{fusion:?}: {}", deviation(initial));
        } else {
            assert!(initial.iter().all(|&value| value == 0.0), "{fusion:?}");
        }
    }
}

#[test]
fn fusions_and_learned_pooling_have_their_first_values() {
    let of = |context: ContextConfig, name: &str| {
        let model = ContextLmConfig::new(gpt2()).with_context(context).init(&cpu()).unwrap();
        values(&model).into_iter().find(|(found, _)| found == name).unwrap().1
    };
    let fusion = |fusion| ContextConfig { fusion, ..ContextConfig::default() };
    let proj = "context.fusion.proj.weight";
    assert!(of(fusion(FusionKind::ProjectedAdd), proj).iter().all(|&x| x == 0.0));
    let concat = of(fusion(FusionKind::Concat), proj); // [2D, D] here: the identity, then zeros
    assert!((0..2 * WIDTH * WIDTH).all(|i| concat[i] == if i / WIDTH == i % WIDTH { 1.0 } else { 0.0 }));
    assert_eq!(of(ContextConfig { gate_init: 0.3, ..fusion(FusionKind::GatedAdd) }, "context.fusion.gate"), [0.3]);
    let learned = ContextConfig { pooling: Pooling::Learned, chunk_size: 4, ..ContextConfig::default() };
    let weight = of(learned, "context.pool.weight"); // [D, 4D]
    assert!((0..4 * WIDTH * WIDTH).all(|i| {
        let (row, column) = (i / (4 * WIDTH), i % (4 * WIDTH));
        weight[i] == if column % WIDTH == row { 0.25 } else { 0.0 }
    }));
}
