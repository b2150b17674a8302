//! The latent loss.

use contextlm_core::{AnyBackbone, Backbone, ChunkGrid, ContextConfig, ContextLm, LatentLoss, LossOptions, Positions};
use contextlm_tests::{VOCABULARY, contextlm, cpu, gpt2, ids, tokens, values};

const WIDTH: usize = 16;

fn latent(model: &ContextLm, kind: LatentLoss, row: &[i64], rows: usize) -> Option<f64> {
    let input = ids(row, rows, &cpu());
    let options = LossOptions { latent_loss: kind, latent_weight: 2.0, ..LossOptions::default() };
    let loss = model.loss_with(input.clone(), input, &options);
    let (total, entropy) = (loss.total.into_scalar::<f64>(), loss.cross_entropy.into_scalar::<f64>());
    let latent = loss.latent.map(|latent| latent.into_scalar::<f64>());
    assert!((total - entropy - 2.0 * latent.unwrap_or(0.0)).abs() < 1e-5, "the weight");
    latent
}

fn small() -> ContextConfig {
    ContextConfig { chunk_size: 2, encoder_layers: 0, ..ContextConfig::default() }
}

#[test]
fn values_by_hand() {
    let device = cpu();
    let model = contextlm(gpt2(), small(), &device);
    let row = tokens(2, 7, VOCABULARY, 51);
    let input = ids(&row, 2, &device);
    let states = values(model.backbone.embed(input.clone(), &Positions::causal(7, &device)));
    let predicted = values(model.predicted_contexts(input).unwrap()); // [2, 4, 16]
    let (mut mse, mut cosine) = (0.0, 0.0);
    for b in 0..2 {
        for k in 1..3 {
            let state = |t: usize, d: usize| f64::from(states[(b * 7 + t) * WIDTH + d]);
            let c: Vec<f64> = (0..WIDTH).map(|d| (state(2 * k, d) + state(2 * k + 1, d)) / 2.0).collect();
            let p: Vec<f64> = (0..WIDTH).map(|d| f64::from(predicted[(b * 4 + k) * WIDTH + d])).collect();
            mse += c.iter().zip(&p).map(|(c, p)| (c - p).powi(2)).sum::<f64>() / WIDTH as f64;
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            cosine += 1.0 - dot(&c, &p) / (dot(&c, &c) * dot(&p, &p)).sqrt();
        }
    }
    for (kind, expected) in [(LatentLoss::Mse, mse / 4.0), (LatentLoss::Cosine, cosine / 4.0)] {
        let found = latent(&model, kind, &row, 2).unwrap();
        assert!((found - expected).abs() < 1e-5 * expected, "{kind:?}: {found} is not {expected}");
    }
    assert_eq!(latent(&model, LatentLoss::None, &row, 2), None);
}

#[test]
fn it_is_0_below_two_chunks() {
    let model = contextlm(gpt2(), small(), &cpu());
    for length in [1, 2, 3] {
        let found = latent(&model, LatentLoss::Mse, &tokens(2, length, VOCABULARY, 52), 2);
        assert!(found.is_none_or(|value| value == 0.0), "T = {length}: {found:?}");
    }
    assert!(latent(&model, LatentLoss::Mse, &tokens(2, 4, VOCABULARY, 52), 2).is_some_and(|value| value > 0.0));
    assert_eq!(ChunkGrid::uniform(3, 2).predicted_chunks(5), 0);
}

/// The chunks are 0 1 | 2 3 | 4 5: the last one is a target only and gets no gradient, the others are predicted from.
#[test]
fn the_target_is_detached() {
    let device = cpu().autodiff();
    let model = contextlm(gpt2(), small(), &device);
    let AnyBackbone::Gpt2(backbone) = &model.backbone else { unreachable!() };
    let row = ids(&[0, 1, 2, 3, 4, 5], 1, &device);
    for latent_loss in [LatentLoss::Mse, LatentLoss::Cosine] {
        let options = LossOptions { latent_loss, latent_weight: 1.0, ..LossOptions::default() };
        let latent = model.loss_with(row.clone(), row.clone(), &options).latent.unwrap();
        let gradient = values(backbone.wte.val().grad(&latent.backward()).unwrap());
        for token in 0..6 {
            let reached = gradient[token * WIDTH..(token + 1) * WIDTH].iter().any(|&value| value != 0.0);
            assert_eq!(reached, token < 4, "{latent_loss:?}, token {token}");
        }
    }
}
