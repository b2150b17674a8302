//! Sizes at the first step: fused states beside what their parts make them, and the gradient beside the plain backbone's.

use contextlm_core::{
    AnyBackbone, Backbone, BackboneConfig, ChunkGrid, ContextConfig, ContextLm, ContextLmConfig, FusionKind,
    Gpt2Config, GptNeoXConfig, Positions,
};
use contextlm_decoder::Interleave;
use contextlm_tests::{POOLINGS, cpu, global_norm, gradients, ids, norm, tokens, values};

const VOCABULARY: usize = 512;
const LENGTH: usize = 64;

fn neox() -> BackboneConfig {
    let preset = GptNeoXConfig::preset("pythia-14m").unwrap();
    BackboneConfig::GptNeoX(GptNeoXConfig {
        vocab_size: VOCABULARY,
        max_position_embeddings: LENGTH,
        num_hidden_layers: 4,
        ..preset
    })
}

fn gpt2() -> BackboneConfig {
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

/// Root mean squares of the encoder's states, and of what the decoder's first block takes.
fn sizes(model: &ContextLm<AnyBackbone>) -> (f64, f64) {
    let device = cpu().autodiff();
    let input = ids(&tokens(2, LENGTH, VOCABULARY, 61), 2, &device);
    let settings = model.settings().unwrap();
    let at = Positions::causal(LENGTH, &device);
    let embedded = model.backbone.embed(input.clone(), &at);
    let states = model.backbone.blocks(embedded, 0..settings.encoder_layers, &at, None);
    let contexts = model.predicted_contexts(input).unwrap();
    let size = |values: Vec<f32>| norm(&values) / (values.len() as f64).sqrt();
    let of_states = size(values(states.clone()));
    let fused = if settings.fusion == FusionKind::Interleave {
        Interleave::new(LENGTH, None, settings.chunk_size, true).insert(states, contexts)
    } else {
        let grid = ChunkGrid::uniform(LENGTH, settings.chunk_size);
        model.context.as_ref().unwrap().decoder.fusion.forward(states, contexts, &grid)
    };
    (of_states, size(values(fused)))
}

/// The gradient's limits, as multiples of the plain backbone's, and the size of the fused states, both for every pooling,
/// chunk size, family and depth of the encoder.
fn check(fusion: FusionKind, size: impl Fn(f64) -> f64) {
    let device = cpu().autodiff();
    for backbone in [gpt2(), neox()] {
        let plain = gradient_norm(&ContextLmConfig::new(backbone.clone()).init(&device).unwrap());
        for (encoder_layers, chunk_size) in [(0, 4), (1, 4), (1, 2), (2, 2), (4, 4)] {
            if fusion == FusionKind::Interleave && encoder_layers == 4 {
                continue; // no block would be left to read the entries
            }
            for pooling in POOLINGS {
                let context = ContextConfig { fusion, pooling, encoder_layers, chunk_size, ..ContextConfig::default() };
                let model = ContextLmConfig::new(backbone.clone()).with_context(context).init(&device).unwrap();
                let ratio = gradient_norm(&model) / plain;
                let (states, found) = sizes(&model);
                let mut expected = size(states);
                if fusion == FusionKind::Interleave {
                    let (tokens, entries) = (LENGTH as f64, (LENGTH / chunk_size + 1) as f64);
                    expected = ((tokens * states * states + entries) / (tokens + entries)).sqrt();
                }
                let what = format!("{fusion:?} {pooling:?} E={encoder_layers} w={chunk_size}");
                println!("{what}: gradient {ratio:.2} x plain {plain:.3}, fused {found:.3}");
                let limit = if encoder_layers == 0 { 10.0 } else { 3.0 };
                assert!((0.2..=limit).contains(&ratio), "{what}: gradient {ratio:.2} x the plain one");
                assert!((found / expected - 1.0).abs() < 0.2, "{what}: fused states {found:.3}, not {expected:.3}");
            }
        }
    }
}

/// A prediction has the size of its norm, 1, beside a state of size `h`; the two are not quite independent.
#[test]
fn add() {
    check(FusionKind::Add, |h| (h * h + 1.0).sqrt());
}

#[test]
fn normed_add() {
    check(FusionKind::NormedAdd, |_| 2.0_f64.sqrt());
}

#[test]
fn gated_add() {
    check(FusionKind::GatedAdd, |h| (h * h + 0.1 * 0.1).sqrt());
}

#[test]
fn projected_add() {
    check(FusionKind::ProjectedAdd, |h| h);
}

#[test]
fn concat() {
    check(FusionKind::Concat, |h| h);
}

/// The token states, and a prediction of size 1 for every chunk and at the start.
#[test]
fn interleave() {
    check(FusionKind::Interleave, |h| h);
}
