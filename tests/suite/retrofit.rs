//! A plain model that becomes a ContextLM.

use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::Device;
use contextlm_core::{
    BackboneConfig, ContextConfig, ContextLm, ContextLmConfig, ContextLmError, FloatDType, FusionKind, Source,
};
use contextlm_generate::{Beyond, DecoderState};
use contextlm_tests::{FUSIONS, VOCABULARY, backbones, cpu, gradients, ids, norm, parameters, tokens, values};

/// What a model computes in each of the ways that there are: logits at once, the loss, and logits by way of caches, a
/// prompt first and then token by token.
fn computed(model: &ContextLm, device: &Device) -> [Vec<f32>; 3] {
    let (input, target) = (tokens(2, 11, VOCABULARY, 51), tokens(2, 11, VOCABULARY, 54));
    let row: Vec<u32> = input[..11].iter().map(|&token| token as u32).collect();
    let mut state = DecoderState::new(model, 1, row.len(), Beyond::Stop, device).unwrap();
    assert!(!state.recomputes());
    let mut cached = values(state.feed_all(&[&row[..5]]).unwrap());
    for token in row[5..].chunks(1) {
        cached.extend(values(state.feed(&[token]).unwrap()));
    }
    let (input, target) = (ids(&input, 2, device), ids(&target, 2, device));
    [values(model.forward(input.clone())), values(model.loss(input, target)), cached]
}

/// Whether two results are the same: bit by bit, or within `tolerance` of the largest value where one is given.
fn same(found: &[f32], expected: &[f32], tolerance: Option<f32>) -> bool {
    let Some(tolerance) = tolerance else { return found == expected };
    let largest = expected.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= tolerance * largest)
}

/// Asserts for every fusion that a retrofitted model computes the same as the plain one, where it says that it does, and
/// something else elsewhere.
pub(crate) fn check(
    backbone: BackboneConfig,
    device: &Device,
    dtype: Option<FloatDType>,
    tolerance: Option<f32>,
    what: &str,
) {
    let in_type = |model: ContextLm| dtype.map_or(model.clone(), |dtype| model.cast(dtype));
    let plain = ContextLmConfig::new(backbone).init_seeded(7, device).unwrap();
    let expected = computed(&in_type(plain.clone()), device);
    for fusion in FUSIONS {
        for (gate_init, source) in [(0.0, Source::Predicted), (0.5, Source::Predicted), (0.5, Source::Constant)] {
            let context = ContextConfig { fusion, gate_init, source, ..ContextConfig::default() };
            let what = format!("{what}, {fusion:?} {gate_init} {source:?}");
            let starts_equal = context.starts_equal();
            let model = ContextLm::retrofit(plain.clone(), context, 3, device).unwrap();
            let found = computed(&in_type(model.clone()), device);
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(same(found, expected, tolerance), starts_equal, "{what}");
            }
            let backbone: Vec<_> =
                parameters(&model).into_iter().filter(|(path, _)| path.starts_with("backbone.")).collect();
            assert!(backbone == parameters(&plain), "{what}");
        }
    }
}

#[test]
fn a_retrofitted_model_starts_as_the_original() {
    for backbone in backbones() {
        check(backbone, &cpu(), None, None, "cpu");
    }
}

/// `concat` maps the token state, which is f32, by a matrix of these.
#[test]
fn a_retrofitted_model_starts_as_the_original_in_halves() {
    for (backbone, dtype) in backbones().into_iter().zip([FloatDType::BF16, FloatDType::F16, FloatDType::BF16]) {
        check(backbone, &cpu(), Some(dtype), None, &format!("cpu, {dtype:?}"));
    }
}

#[test]
fn the_default_is_half_and_half_and_a_context_is_not_put_on_twice() {
    let device = cpu();
    let plain = ContextLmConfig::preset("pythia-14m").unwrap().init(&device).unwrap();
    let context = ContextConfig::for_retrofit(&contextlm_core::Backbone::spec(&plain.backbone));
    assert_eq!((context.encoder_layers, context.fusion), (3, FusionKind::ProjectedAdd));
    assert!(context.starts_equal());
    let once = ContextLm::retrofit(plain, context.clone(), 0, &device).unwrap();
    let twice = ContextLm::retrofit(once, context, 0, &device);
    assert!(matches!(twice, Err(ContextLmError::HasContext)));
}

/// The projection starts at 0, so the predictor's gradient is 0 until the projection has moved.
#[test]
fn gradients_reach_the_projection_first_and_then_the_predictor() {
    let device = cpu().autodiff();
    for backbone in backbones() {
        let plain = ContextLmConfig::new(backbone).init(&device).unwrap();
        let context = ContextConfig::for_retrofit(&contextlm_core::Backbone::spec(&plain.backbone));
        let mut model = ContextLm::retrofit(plain, context, 0, &device).unwrap();
        let input = ids(&tokens(2, 12, VOCABULARY, 52), 2, &device);
        let target = ids(&tokens(2, 12, VOCABULARY, 53), 2, &device);
        let of = |model: &ContextLm, part: &str| {
            let all = gradients(model, model.loss(input.clone(), target.clone()));
            norm(all.iter().filter(|(path, _)| path.contains(part)).flat_map(|(_, values)| values))
        };
        assert!(of(&model, "fusion.proj.weight") > 1e-4);
        assert_eq!(of(&model, "context.predictor"), 0.0);
        let step = GradientsParams::from_grads(model.loss(input.clone(), target.clone()).backward(), &model);
        model = SgdConfig::new().init().step(0.1, model, step);
        assert!(of(&model, "context.predictor") > 1e-6);
    }
}
