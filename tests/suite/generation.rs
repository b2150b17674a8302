//! Cached decoding on other backends: its logits are those of the full forward pass on the same device.

use burn::tensor::Device;
use contextlm_core::{ContextConfig, ContextLm, FusionKind, Pooling};
use contextlm_generate::{Beyond, DecoderState};
use contextlm_tests::{VOCABULARY, contextlm, cpu, gpt2, ids, neox, tokens, values};

use crate::backends::devices;

const W: usize = 3;
const NEW: usize = 8;

/// Flex and the other devices of this build, with their tolerances.
fn all_devices() -> impl Iterator<Item = (String, Device, f32)> {
    let others = devices().into_iter().map(|(name, device)| {
        let tolerance = if name == "wgpu" { 1e-4 } else { 1e-5 };
        (name, device, tolerance)
    });
    others.chain([("cpu".to_string(), cpu(), 1e-5)])
}

/// A prompt at once and the new tokens one by one, against the full pass.
fn check(model: &ContextLm, prompt: usize, device: &Device, tolerance: f32, what: &str) {
    let text = tokens(1, prompt + NEW, VOCABULARY, prompt as u64);
    let expected = values(model.forward(ids(&text, 1, device)));
    let text: Vec<u32> = text.into_iter().map(|token| token as u32).collect();
    let mut state = DecoderState::new(model, 1, prompt + NEW, Beyond::Stop, device).unwrap();
    assert!(!state.recomputes());
    let mut found = values(state.feed_all(&[&text[..prompt]]).unwrap());
    for token in text[prompt..].chunks(1) {
        found.extend(values(state.feed(&[token]).unwrap()));
    }
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0f32, |largest, logit| largest.max(logit.abs()));
    let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance * largest && found.iter().all(|logit| logit.is_finite()), "{what}: {worst}");
}

#[test]
fn cached_logits_are_those_of_the_full_pass_on_every_backend() {
    for (name, device, tolerance) in all_devices() {
        for fusion in [FusionKind::NormedAdd, FusionKind::Concat, FusionKind::Interleave] {
            for (pooling, backbone) in [(Pooling::Mean, gpt2()), (Pooling::Learned, neox())] {
                let context = ContextConfig { fusion, pooling, chunk_size: W, ..ContextConfig::default() };
                let model = contextlm(backbone, context, &device);
                for prompt in [1, W, W + 1, 3 * W + 1] {
                    check(&model, prompt, &device, tolerance, &format!("{name}, {fusion:?}, {pooling:?}, {prompt}"));
                }
            }
        }
    }
}

/// Rows of different lengths reach chunk borders at different steps.
#[test]
fn rows_of_different_lengths_are_as_if_alone_on_every_backend() {
    for (name, device, tolerance) in all_devices() {
        for fusion in [FusionKind::NormedAdd, FusionKind::Interleave] {
            let context = ContextConfig { fusion, chunk_size: W, ..ContextConfig::default() };
            let model = contextlm(neox(), context, &device);
            let texts: Vec<Vec<i64>> = (0..2).map(|row| tokens(1, 10 + row, VOCABULARY, row as u64)).collect();
            let narrow: Vec<Vec<u32>> =
                texts.iter().map(|text| text.iter().map(|&token| token as u32).collect()).collect();
            let mut state = DecoderState::new(&model, 2, 16, Beyond::Stop, &device).unwrap();
            state.feed(&[&narrow[0][..2], &narrow[1][..3]]).unwrap();
            for step in 0..8 {
                let [first, second] = [2 + step, 3 + step];
                let found = values(state.feed(&[&narrow[0][first..=first], &narrow[1][second..=second]]).unwrap());
                for (row, end) in [first, second].into_iter().enumerate() {
                    let all = values(model.forward(ids(&texts[row][..=end], 1, &device)));
                    let expected = &all[end * VOCABULARY..];
                    let largest = all.iter().fold(1.0f32, |largest, logit| largest.max(logit.abs()));
                    let found = &found[row * VOCABULARY..][..VOCABULARY];
                    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(worst <= tolerance * largest, "{name}, {fusion:?}, row {row}, step {step}: {worst}");
                }
            }
        }
    }
}
