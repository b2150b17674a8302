//! A packed batch equals each of its documents run alone.

use contextlm_core::{
    BackboneConfig, ContextConfig, ContextLm, ContextLmConfig, Documents, InitialContextKind, LatentLoss, LossOptions,
    Source,
};
use contextlm_tests::{FUSIONS, POOLINGS, VOCABULARY, assert_close, contextlm, cpu, gpt2, ids, llama, neox, tokens};

const LENGTH: usize = 16;

/// Documents shorter than a chunk, of one token, a whole row, and many.
fn starts() -> Vec<Vec<usize>> {
    vec![vec![0, 2, 3, 12, 15], vec![0], (0..LENGTH).collect(), vec![0, 7]]
}

fn check(model: &ContextLm, what: &str) {
    let device = cpu();
    let documents = Documents::new(starts(), LENGTH).unwrap();
    let rows = documents.rows();
    let inputs = tokens(rows, LENGTH, VOCABULARY, 31);
    let mut targets = tokens(rows, LENGTH, VOCABULARY, 32);
    targets[5] = -100;
    targets[LENGTH + 2] = -100;
    let scored = (rows * LENGTH - 2) as f64;

    let packed = model.forward_packed(ids(&inputs, rows, &device), &documents);
    let options = |latent_loss| LossOptions { latent_loss, latent_weight: 0.5, ..LossOptions::default() };
    let chunk_size = model.settings().map_or(1, |settings| settings.chunk_size);
    for row in 0..rows {
        for (start, length) in documents.of_row(row) {
            let from = row * LENGTH + start;
            let alone = model.forward(ids(&inputs[from..from + length], 1, &device));
            let part = packed.clone().narrow(0, row, 1).narrow(1, start, length);
            assert_close(part, alone, 1e-5, &format!("{what}: document at {start} of row {row}"));
        }
    }

    let pairs: usize = (0..rows)
        .flat_map(|row| documents.of_row(row).map(|(_, length)| (length / chunk_size).saturating_sub(1)))
        .sum();
    for latent in [LatentLoss::None, LatentLoss::Mse, LatentLoss::Cosine] {
        let whole = LossOptions { documents: Some(documents.clone()), ..options(latent) };
        let whole = model.loss_with(ids(&inputs, rows, &device), ids(&targets, rows, &device), &whole);
        let part = LossOptions { divisor: Some(scored), latent_divisor: Some(pairs as f64), ..options(latent) };
        let (mut total, mut distance) = (0.0, 0.0);
        for row in 0..rows {
            for (start, length) in documents.of_row(row) {
                let range = row * LENGTH + start..row * LENGTH + start + length;
                let (input, target) = (ids(&inputs[range.clone()], 1, &device), ids(&targets[range], 1, &device));
                let loss = model.loss_with(input, target, &part);
                total += loss.total.into_scalar::<f64>();
                distance += loss.latent.map_or(0.0, |latent| latent.into_scalar::<f64>());
            }
        }
        let found = whole.total.into_scalar::<f64>();
        assert!((found - total).abs() <= 1e-5 * total, "{what}, {latent:?}: loss {found} is not {total}");
        if let Some(found) = whole.latent.map(|latent| latent.into_scalar::<f64>()) {
            assert!((found - distance).abs() <= 1e-5 * distance, "{what}, {latent:?}: {found} is not {distance}");
        }
    }
}

fn check_all(backbone: BackboneConfig) {
    let device = cpu();
    check(&ContextLmConfig::new(backbone.clone()).init(&device).unwrap(), "plain");
    for fusion in FUSIONS {
        let context = ContextConfig { chunk_size: 3, fusion, ..ContextConfig::default() };
        for pooling in POOLINGS {
            let context = ContextConfig { pooling, ..context.clone() };
            check(&contextlm(backbone.clone(), context.clone(), &device), &format!("{context:?}"));
        }
        for chunk_size in [1, 2, 20] {
            let context = ContextConfig { chunk_size, ..context.clone() };
            check(&contextlm(backbone.clone(), context.clone(), &device), &format!("{context:?}"));
        }
        let constant = ContextConfig { source: Source::Constant, ..context.clone() };
        let zero = ContextConfig { initial_context: InitialContextKind::Zero, ..context };
        for context in [constant, zero] {
            check(&contextlm(backbone.clone(), context.clone(), &device), &format!("{context:?}"));
        }
    }
}

#[test]
fn gpt_2() {
    check_all(gpt2());
}

#[test]
fn gpt_neox() {
    check_all(neox());
}

#[test]
fn llama_family() {
    check_all(llama());
}
