//! Models with weights of 8 bits.

use contextlm_core::{ContextConfig, ContextLm, ContextLmConfig, ContextLmError, Device, FloatDType, FusionKind};
use contextlm_eval::{PerplexityOptions, perplexity};
use contextlm_generate::{Beyond, DecoderState};
use contextlm_tests::{FUSIONS, VOCABULARY, backbones, contextlm, cpu, ids, tokens, values};

fn relative(found: &[f32], expected: &[f32]) -> f32 {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
    norm(&mut found.iter().zip(expected).map(|(a, b)| a - b)) / norm(&mut expected.iter().copied())
}

fn models(device: &Device) -> Vec<ContextLm> {
    let plain = backbones().map(|backbone| ContextLmConfig::new(backbone).init(device).unwrap());
    let context = |fusion: FusionKind| {
        let [_, neox, _] = backbones();
        contextlm(neox, ContextConfig { fusion, chunk_size: 3, ..ContextConfig::default() }, device)
    };
    plain.into_iter().chain(FUSIONS.map(context)).collect()
}

#[test]
fn logits_are_near_and_the_model_stays_as_it_was() {
    let device = cpu();
    let input = ids(&tokens(2, 11, VOCABULARY, 5), 2, &device);
    for (number, model) in models(&device).iter().enumerate() {
        let before = values(model.forward(input.clone()));
        let int8 = model.quantize_int8().unwrap();
        let error = relative(&values(int8.forward(input.clone())), &before);
        assert!(error > 0.0 && error < 0.03, "model {number}: {error}");
        assert_eq!(values(model.forward(input.clone())), before);
        assert_eq!(int8.parameters(), model.parameters());
    }
}

/// Few rows go through the weights as they are, many through their f32 form.
#[test]
fn decoding_is_the_full_pass() {
    let device = cpu();
    for model in models(&device) {
        let int8 = model.quantize_int8().unwrap();
        let all: Vec<u32> = tokens(1, 17, VOCABULARY, 6).iter().map(|&token| token as u32).collect();
        let expected = values(int8.forward(ids(&tokens(1, 17, VOCABULARY, 6), 1, &device)));
        let mut state = DecoderState::new(&int8, 1, 17, Beyond::Stop, &device).unwrap();
        let largest = expected.iter().fold(1.0f32, |largest, logit| largest.max(logit.abs()));
        for (at, token) in all.iter().enumerate() {
            let logits = values(state.feed(&[&[*token]]).unwrap());
            let expected = &expected[at * VOCABULARY..][..VOCABULARY];
            let worst = logits.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= 1e-5 * largest, "token {at}: {worst}");
        }
    }
}

#[test]
fn perplexity_hardly_changes() {
    let device = cpu();
    let text: Vec<u32> = tokens(1, 300, VOCABULARY, 7).iter().map(|&token| token as u32).collect();
    for model in models(&device) {
        let measure = |model: &ContextLm| {
            let options = PerplexityOptions { window: Some(32), ..PerplexityOptions::default() };
            perplexity(model, &[text.clone().into()], &options, &device, |_| true).unwrap().perplexity()
        };
        let (before, after) = (measure(&model), measure(&model.quantize_int8().unwrap()));
        assert!(before != after && (after / before - 1.0).abs() < 0.02, "{before}, {after}");
    }
}

#[test]
fn what_cannot_be_quantized_says_why() {
    let [gpt2, ..] = backbones();
    let config = ContextLmConfig::new(gpt2);
    let reason =
        |found: Result<ContextLm, ContextLmError>| found.err().map_or(String::new(), |error| error.to_string());
    let model = config.init(&cpu()).unwrap();
    let halves = reason(model.cast(FloatDType::BF16).quantize_int8());
    assert!(halves.contains("must be f32"), "{halves}");
    let again = reason(model.quantize_int8().unwrap().quantize_int8());
    assert!(again.contains("already"), "{again}");
    let training = reason(config.init(&cpu().autodiff()).unwrap().quantize_int8());
    assert!(training.contains("cpu"), "{training}");
}
