//! A plain model that becomes a ContextLM.

use burn::optim::{GradientsParams, SgdConfig};
use contextlm_core::{ContextConfig, ContextLm, ContextLmConfig, ContextLmError, FusionKind, Source};
use contextlm_tests::{FUSIONS, VOCABULARY, backbones, cpu, gradients, ids, norm, parameters, tokens, values};

fn logits(model: &ContextLm) -> Vec<f32> {
    values(model.forward(ids(&tokens(2, 11, VOCABULARY, 51), 2, &cpu())))
}

#[test]
fn a_retrofitted_model_starts_as_the_original() {
    let device = cpu();
    for backbone in backbones() {
        let plain = ContextLmConfig::new(backbone).init_seeded(7, &device).unwrap();
        let expected = logits(&plain);
        for fusion in FUSIONS {
            for (gate_init, source) in [(0.0, Source::Predicted), (0.5, Source::Predicted), (0.5, Source::Constant)] {
                let context = ContextConfig { fusion, gate_init, source, ..ContextConfig::default() };
                let starts_equal = context.starts_equal();
                let model = ContextLm::retrofit(plain.clone(), context, 3, &device).unwrap();
                assert_eq!(logits(&model) == expected, starts_equal, "{fusion:?} {gate_init} {source:?}");
                let backbone: Vec<_> =
                    parameters(&model).into_iter().filter(|(path, _)| path.starts_with("backbone.")).collect();
                assert!(backbone == parameters(&plain), "{fusion:?}");
            }
        }
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
