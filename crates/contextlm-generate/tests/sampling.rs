//! Scores against those of `transformers` (tools/write_sampling_fixtures.py).
#![allow(clippy::unwrap_used)]

use contextlm_generate::{Sampler, Sampling};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    settings: Settings,
    logits: Vec<f32>,
    prompt: Vec<u32>,
    generated: Vec<u32>,
    scores: Vec<Option<f32>>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    temperature: f32,
    top_k: usize,
    top_p: Option<f32>,
    min_p: f32,
    repetition_penalty: Option<f32>,
    presence_penalty: f32,
    frequency_penalty: f32,
    logit_bias: Vec<(u32, f32)>,
}

#[test]
fn scores_are_those_of_transformers() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures/sampling.json")).unwrap();
    assert_eq!(cases.len(), 20);
    for case in cases {
        let what = format!("{:?}", case.settings);
        let settings = Sampling {
            temperature: case.settings.temperature,
            top_k: case.settings.top_k,
            top_p: case.settings.top_p.unwrap_or(1.0),
            min_p: case.settings.min_p,
            repetition_penalty: case.settings.repetition_penalty.unwrap_or(1.0),
            presence_penalty: case.settings.presence_penalty,
            frequency_penalty: case.settings.frequency_penalty,
            logit_bias: case.settings.logit_bias,
            ..Sampling::default()
        };
        settings.validate(case.logits.len()).unwrap();
        let mut sampler = Sampler::new(settings, &case.prompt, 0);
        case.generated.iter().for_each(|&token| sampler.record(token));
        for (token, (found, expected)) in sampler.scores(&case.logits).into_iter().zip(case.scores).enumerate() {
            match expected {
                Some(expected) => assert!((found - expected).abs() <= 1e-5, "{what}, {token}: {found}, {expected}"),
                None => assert_eq!(found, f32::NEG_INFINITY, "{what}, {token}"),
            }
        }
    }
}
