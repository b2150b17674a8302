//! Where a ContextLM is its plain backbone.

use burn::tensor::{Tensor, TensorData};
use contextlm_core::{
    ChunkGrid, ContextConfig, ContextLm, ContextLmConfig, Documents, FusionKind, InitialContextKind, LossOptions,
    Source,
};
use contextlm_tests::{
    FUSIONS, POOLINGS, VOCABULARY, backbones, contextlm, cpu, gpt2, ids, parameters, tokens, values,
};

const ZERO_FUSIONS: [FusionKind; 4] =
    [FusionKind::Add, FusionKind::GatedAdd, FusionKind::ProjectedAdd, FusionKind::Concat];

fn logits(model: &ContextLm) -> Vec<f32> {
    values(model.forward(ids(&tokens(2, 11, VOCABULARY, 41), 2, &cpu())))
}

#[test]
fn without_a_context_the_model_is_the_backbone() {
    use contextlm_core::{Backbone, Positions};
    let device = cpu();
    for backbone in backbones() {
        let model = ContextLmConfig::new(backbone).init(&device).unwrap();
        assert!(model.context.is_none() && model.settings().is_none());
        let row = ids(&tokens(2, 11, VOCABULARY, 41), 2, &device);
        assert!(model.predicted_contexts(row.clone()).is_none());
        let at = Positions::causal(11, &device);
        let backbone = &model.backbone;
        let states = backbone.norm(backbone.blocks(backbone.embed(row, &at), 0..2, &at, None));
        let expected = values(states.matmul(backbone.head().transpose().unsqueeze()));
        assert!(logits(&model) == expected);
    }
}

/// Zero contexts, at every position, under fusions at their starting values.
#[test]
fn zero_contexts_change_nothing() {
    let device = cpu();
    for backbone in backbones() {
        let plain = ContextLmConfig::new(backbone.clone()).init(&device).unwrap();
        for fusion in ZERO_FUSIONS {
            for encoder_layers in 0..=2 {
                let context = ContextConfig { fusion, encoder_layers, ..ContextConfig::default() };
                // Both the zero context and the learned one, which starts at 0, everywhere.
                for initial_context in [InitialContextKind::Zero, InitialContextKind::Learned] {
                    let source = Source::Constant;
                    let context = ContextConfig { source, initial_context, ..context.clone() };
                    let model = ContextLmConfig::new(backbone.clone()).with_context(context).init(&device).unwrap();
                    assert!(logits(&model) == logits(&plain), "{fusion:?}, {encoder_layers}, {initial_context:?}");
                }
                // Zeros in the place of the predictions.
                let model = ContextLmConfig::new(backbone.clone()).with_context(context).init(&device).unwrap();
                let (input, target) = (tokens(2, 11, VOCABULARY, 41), tokens(2, 11, VOCABULARY, 42));
                let (input, target) = (ids(&input, 2, &device), ids(&target, 2, &device));
                let contexts = model.predicted_contexts(input.clone()).map(|contexts| contexts.zeros_like());
                let options = LossOptions { contexts, ..LossOptions::default() };
                let found = model.loss_with(input.clone(), target.clone(), &options).total.into_scalar::<f32>();
                assert!(found == plain.loss(input, target).into_scalar::<f32>(), "{fusion:?}, {encoder_layers}");
            }
        }
    }
}

/// A zero context adds nothing once the parameters have moved either, and no bias: before the first prediction a token's
/// state is its own, or its norm.
#[test]
fn a_zero_initial_context_adds_nothing_after_training() {
    let device = cpu();
    let width = 16;
    let noise = |seed: u64, entries: usize| {
        let values = tokens(1, entries * width, 1000, seed).into_iter().map(|value| value as f32 / 500.0 - 1.0);
        Tensor::<3>::from_data(TensorData::new(values.collect::<Vec<f32>>(), [1, entries, width]), &device)
    };
    for fusion in [FusionKind::Add, FusionKind::GatedAdd, FusionKind::ProjectedAdd, FusionKind::NormedAdd] {
        for source in [Source::Predicted, Source::Constant] {
            let initial_context = InitialContextKind::Zero;
            let context = ContextConfig { fusion, source, initial_context, chunk_size: 4, ..ContextConfig::default() };
            let model = contextlm(gpt2(), context, &device);
            let path = model.context.as_ref().unwrap();
            let documents = Documents::new(vec![vec![0, 5]], 11).unwrap();
            // Positions that the initial context guides: the first three of a document.
            let grids = [
                (ChunkGrid::uniform(11, 4), vec![0, 1, 2]),
                (ChunkGrid::packed(&documents, 4), vec![0, 1, 2, 5, 6, 7]),
            ];
            for (grid, first) in grids {
                let (states, mut contexts) = (noise(1, 11), noise(2, grid.chunks() + 1));
                let initial = path.embedding.initial(1, &device);
                contexts = match source {
                    Source::Constant => initial.expand([1, grid.chunks() + 1, width]),
                    Source::Predicted => Tensor::cat(vec![initial, contexts.narrow(1, 1, grid.chunks())], 1),
                };
                let found = values(path.decoder.fusion.forward(states.clone(), contexts, &grid));
                let own = match &path.decoder.fusion.norm_tokens {
                    Some(norm) => values(norm.forward(states)),
                    None => values(states),
                };
                for t in 0..11 {
                    let zero = source == Source::Constant || first.contains(&t);
                    let at = t * width..(t + 1) * width;
                    assert_eq!(found[at.clone()] == own[at], zero, "{fusion:?}, {source:?}, {t}");
                }
            }
        }
    }
}

/// Predicted contexts too change nothing where their weight starts at 0; under the other fusions they do.
#[test]
fn fusions_that_start_as_the_plain_model() {
    let device = cpu();
    for backbone in backbones() {
        let plain = logits(&ContextLmConfig::new(backbone.clone()).init(&device).unwrap());
        for fusion in FUSIONS {
            for gate_init in [0.0, 0.1] {
                let context = ContextConfig { fusion, gate_init, ..ContextConfig::default() };
                let model = ContextLmConfig::new(backbone.clone()).with_context(context).init(&device).unwrap();
                let equal = match fusion {
                    FusionKind::ProjectedAdd | FusionKind::Concat => true,
                    FusionKind::GatedAdd => gate_init == 0.0,
                    _ => false,
                };
                assert_eq!(logits(&model) == plain, equal, "{fusion:?}, gate {gate_init}");
            }
        }
    }
}

/// Under `interleave` a zero initial context is no entry: without a complete chunk the model is the plain one.
#[test]
fn interleave_without_entries_is_plain() {
    let device = cpu();
    let row = ids(&tokens(1, 3, VOCABULARY, 43), 1, &device);
    let plain = values(ContextLmConfig::new(gpt2()).init(&device).unwrap().forward(row.clone()));
    for (initial_context, equal) in [(InitialContextKind::Zero, true), (InitialContextKind::Learned, false)] {
        let context = ContextConfig { fusion: FusionKind::Interleave, initial_context, ..ContextConfig::default() };
        let model = ContextLmConfig::new(gpt2()).with_context(context).init(&device).unwrap();
        assert_eq!(values(model.forward(row.clone())) == plain, equal, "{initial_context:?}");
    }
}

/// With `constant` there is no other context either, at any length.
#[test]
fn interleave_of_constant_zeros_is_plain() {
    let device = cpu();
    for backbone in backbones() {
        let row = ids(&tokens(1, 11, VOCABULARY, 43), 1, &device);
        let plain = values(ContextLmConfig::new(backbone.clone()).init(&device).unwrap().forward(row.clone()));
        let context = ContextConfig {
            fusion: FusionKind::Interleave,
            source: Source::Constant,
            initial_context: InitialContextKind::Zero,
            ..ContextConfig::default()
        };
        let model = ContextLmConfig::new(backbone).with_context(context).init(&device).unwrap();
        assert!(values(model.forward(row)) == plain);
    }
}

/// One seed gives one backbone, whatever stands beside it, and another seed another one.
#[test]
fn a_seed_gives_the_same_backbone_under_every_context() {
    let device = cpu();
    for backbone in backbones() {
        let plain = parameters(&ContextLmConfig::new(backbone.clone()).init_seeded(3, &device).unwrap());
        for (fusion, pooling) in FUSIONS.into_iter().zip(POOLINGS.into_iter().cycle()) {
            let context = ContextConfig { fusion, pooling, chunk_size: 2, ..ContextConfig::default() };
            let config = ContextLmConfig::new(backbone.clone()).with_context(context);
            let model = parameters(&config.init_seeded(3, &device).unwrap());
            let (of_backbone, of_context): (Vec<_>, Vec<_>) =
                model.into_iter().partition(|(path, _)| path.starts_with("backbone."));
            assert!(of_backbone == plain, "{fusion:?}");
            assert!(!of_context.is_empty());
            let other = parameters(&config.init_seeded(4, &device).unwrap());
            assert!(other.iter().any(|tensor| !plain.contains(tensor) && tensor.0.starts_with("backbone.")));
        }
    }
}

/// Told by name, where backends would fail in ways of their own.
#[test]
#[should_panic(expected = "no tokens: [B, T] is [0, 5]")]
fn no_rows_are_refused() {
    let model = ContextLmConfig::new(gpt2()).init(&cpu()).unwrap();
    model.forward(Tensor::zeros([0, 5], &cpu()));
}
