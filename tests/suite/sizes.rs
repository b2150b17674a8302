//! Sizes at the first step: fused states, and the gradient beside the plain backbone's.

use contextlm_core::{
    AnyBackbone, Backbone, BackboneConfig, ChunkGrid, ContextConfig, ContextLm, ContextLmConfig, FusionKind,
    Gpt2Config, Pooling, Positions,
};
use contextlm_decoder::Interleave;
use contextlm_tests::{FUSIONS, POOLINGS, cpu, global_norm, gradients, ids, norm, tokens, values};

const VOCABULARY: usize = 512;
const LENGTH: usize = 64;

fn backbone() -> BackboneConfig {
    let preset = Gpt2Config::preset("gpt2").unwrap();
    BackboneConfig::Gpt2(Gpt2Config {
        vocab_size: VOCABULARY,
        n_positions: LENGTH,
        n_embd: 128,
        n_layer: 4,
        n_head: 2,
        ..preset
    })
}

fn gradient_norm(model: &ContextLm) -> f64 {
    let device = cpu().autodiff();
    let (input, target) = (tokens(2, LENGTH, VOCABULARY, 61), tokens(2, LENGTH, VOCABULARY, 62));
    global_norm(&gradients(model, model.loss(ids(&input, 2, &device), ids(&target, 2, &device))))
}

/// Root mean square of what the decoder's first block takes.
fn fused_size(model: &ContextLm<AnyBackbone>) -> f64 {
    let device = cpu().autodiff();
    let input = ids(&tokens(2, LENGTH, VOCABULARY, 61), 2, &device);
    let settings = model.settings().unwrap();
    let at = Positions::causal(LENGTH, &device);
    let embedded = model.backbone.embed(input.clone(), &at);
    let states = model.backbone.blocks(embedded, 0..settings.encoder_layers, &at, None);
    let contexts = model.predicted_contexts(input).unwrap();
    let fused = if settings.fusion == FusionKind::Interleave {
        Interleave::new(LENGTH, None, settings.chunk_size, true).insert(states, contexts)
    } else {
        let grid = ChunkGrid::uniform(LENGTH, settings.chunk_size);
        model.context.as_ref().unwrap().decoder.fusion.forward(states, contexts, &grid)
    };
    let fused = values(fused);
    norm(&fused) / (fused.len() as f64).sqrt()
}

/// Checks every pooling and encoder depth under a fusion, and the size of the fused states.
fn check(fusion: FusionKind, size: std::ops::Range<f64>) {
    let device = cpu().autodiff();
    let plain = gradient_norm(&ContextLmConfig::new(backbone()).init(&device).unwrap());
    for encoder_layers in 0..=2 {
        for pooling in POOLINGS {
            let context = ContextConfig { fusion, pooling, encoder_layers, ..ContextConfig::default() };
            let model = ContextLmConfig::new(backbone()).with_context(context).init(&device).unwrap();
            let (ratio, found) = (gradient_norm(&model) / plain, fused_size(&model));
            println!(
                "{fusion:?} {pooling:?} E={encoder_layers}: gradient {ratio:.2} x plain {plain:.3}, fused {found:.3}"
            );
            let limit = if encoder_layers == 0 { 10.0 } else { 3.0 };
            assert!(ratio <= limit, "{fusion:?} {pooling:?} E={encoder_layers}: gradient {ratio:.2} x the plain one");
            assert!(size.contains(&found), "{fusion:?} {pooling:?} E={encoder_layers}: fused states {found:.3}");
        }
    }
}

#[test]
fn add() {
    check(FusionKind::Add, 0.5..1.5);
}

#[test]
fn normed_add() {
    check(FusionKind::NormedAdd, 1.0..2.0);
}

#[test]
fn gated_add() {
    check(FusionKind::GatedAdd, 0.05..0.2);
}

#[test]
fn projected_add() {
    check(FusionKind::ProjectedAdd, 0.0..0.1);
}

#[test]
fn concat() {
    check(FusionKind::Concat, 0.0..0.1);
}

#[test]
fn interleave() {
    check(FusionKind::Interleave, 0.2..1.0);
}

/// Every fusion and pooling is in the tests above.
#[test]
fn all_fusions_are_checked() {
    assert_eq!((FUSIONS.len(), POOLINGS.len()), (6, 5));
    assert!(POOLINGS.contains(&Pooling::Max));
}
