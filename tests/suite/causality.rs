//! Changing token t leaves every logit before t bit-identical, and changes logit t.

use burn::tensor::Device;
use contextlm_core::{Backbone, BackboneConfig, ContextConfig, ContextLm, FusionKind, Pooling, Source};
use contextlm_tests::{FUSIONS, POOLINGS, VOCABULARY, contextlm, cpu, gpt2, ids, llama, neox, tokens, values};

/// Checks every token of a sequence of `length`.
pub fn check<B: Backbone>(model: &ContextLm<B>, length: usize, vocabulary: usize, device: &Device, what: &str) {
    let row = tokens(1, length, vocabulary, 7);
    let logits = |row: &[i64]| values(model.forward(ids(row, 1, device)));
    let before = logits(&row);
    assert!(before.iter().all(|logit| logit.is_finite()), "{what}: not finite");
    for t in 0..length {
        let mut changed = row.clone();
        changed[t] = (changed[t] + 5) % vocabulary as i64;
        let after = logits(&changed);
        let (from, to) = (t * vocabulary, (t + 1) * vocabulary);
        assert!(before[..from] == after[..from], "{what}: token {t} changes a logit before it");
        assert!(before[from..to] != after[from..to], "{what}: token {t} does not change its own logits");
    }
}

/// Every encoder depth, chunk size and both sources under these fusions and poolings.
fn check_all(backbone: BackboneConfig, fusions: &[FusionKind], poolings: &[Pooling]) {
    let device = cpu();
    let layers = backbone.layers();
    for &fusion in fusions {
        for encoder_layers in [0, 1, layers] {
            if fusion == FusionKind::Interleave && encoder_layers == layers {
                continue; // refused, see the tests of configurations
            }
            for chunk_size in 1..=5 {
                let context = ContextConfig { chunk_size, encoder_layers, fusion, ..ContextConfig::default() };
                let constant = ContextConfig { source: Source::Constant, ..context.clone() };
                let predicted = poolings.iter().map(|&pooling| ContextConfig { pooling, ..context.clone() });
                for context in predicted.chain([constant]) {
                    let model = contextlm(backbone.clone(), context.clone(), &device);
                    check(&model, 2 * chunk_size + 1, VOCABULARY, &device, &format!("{context:?}"));
                }
            }
        }
    }
}

#[test]
fn add() {
    check_all(gpt2(), &[FusionKind::Add, FusionKind::GatedAdd], &POOLINGS);
}

#[test]
fn normed_add() {
    check_all(gpt2(), &[FusionKind::NormedAdd], &POOLINGS);
}

#[test]
fn projections() {
    check_all(gpt2(), &[FusionKind::ProjectedAdd, FusionKind::Concat], &POOLINGS);
}

#[test]
fn interleave() {
    check_all(gpt2(), &[FusionKind::Interleave], &POOLINGS);
}

#[test]
fn gpt_neox() {
    check_all(neox(), &FUSIONS, &[Pooling::Mean, Pooling::Learned]);
}

#[test]
fn llama_family() {
    check_all(llama(), &FUSIONS, &[Pooling::Mean, Pooling::Learned]);
}

/// The contexts reach what they should: a prediction changes with any token of the chunks before it, and the logits that
/// it guides change with it.
#[test]
fn predictions_depend_on_the_chunks_before() {
    let device = cpu();
    for pooling in POOLINGS {
        let context = ContextConfig { chunk_size: 3, encoder_layers: 0, pooling, ..ContextConfig::default() };
        let model = contextlm(gpt2(), context, &device);
        let row = tokens(1, 9, VOCABULARY, 3);
        let contexts = |row: &[i64]| values(model.predicted_contexts(ids(row, 1, &device)).unwrap());
        let before = contexts(&row);
        for t in 0..9 {
            let mut changed = row.clone();
            changed[t] = (changed[t] + 5) % VOCABULARY as i64;
            let after = contexts(&changed);
            let first = (t / 3 + 1) * 16; // width 16
            assert!(before[..first] == after[..first], "{pooling:?}: token {t} changes an earlier prediction");
            let read = match pooling {
                Pooling::First => t % 3 == 0,
                Pooling::Last => t % 3 == 2,
                _ => true,
            };
            let same = before[first..first + 16] == after[first..first + 16];
            assert!(same != read, "{pooling:?}: prediction {} and token {t}", t / 3 + 1);
        }
    }
}
