//! GPUs whose matrix units take f32 and bf16 in ways of their own, against flex: `cargo test -p contextlm-tests --features cuda`.

use burn::tensor::Device;
use contextlm_core::{
    BackboneConfig, ContextConfig, ContextLmConfig, FloatDType, Gpt2Config, GptNeoXConfig, LlamaConfig,
};
use contextlm_data::Batches;
use contextlm_tests::{FUSIONS, contextlm, cpu, gpt2, llama, neox, tokens};
use contextlm_train::{TrainConfig, TrainDtype, Trainer};

use crate::backends::{BF16, devices, difference, results_of, tolerance};

/// One of every family, wide enough for the matrix units of a GPU: width 128, heads of 64.
fn wide() -> [BackboneConfig; 3] {
    let BackboneConfig::Gpt2(gpt2) = gpt2() else { unreachable!() };
    let BackboneConfig::GptNeoX(neox) = neox() else { unreachable!() };
    let BackboneConfig::Llama(llama) = llama() else { unreachable!() };
    let (width, range) = (128, 0.05);
    [
        BackboneConfig::Gpt2(Gpt2Config { vocab_size: 257, n_embd: width, initializer_range: range, ..gpt2 }),
        BackboneConfig::GptNeoX(GptNeoXConfig {
            vocab_size: 257,
            hidden_size: width,
            intermediate_size: 4 * width,
            initializer_range: range,
            ..neox
        }),
        BackboneConfig::Llama(LlamaConfig {
            vocab_size: 257,
            hidden_size: width,
            intermediate_size: 320,
            num_attention_heads: 2,
            num_key_value_heads: Some(1),
            head_dim: Some(64),
            initializer_range: range,
            ..llama
        }),
    ]
}

/// The GPUs of this build.
fn gpus() -> impl Iterator<Item = (String, Device)> {
    devices().into_iter().filter(|(name, _)| name == "cuda")
}

/// Every family and fusion on a GPU in f32, and in bf16 beside flex's f32.
fn check(kind: &str, backbone: BackboneConfig) {
    let mut wrong = Vec::new();
    for (name, device) in gpus() {
        let contexts = FUSIONS.map(|fusion| Some(ContextConfig { fusion, ..ContextConfig::default() }));
        for context in [None].into_iter().chain(contexts) {
            let build = |device: &Device| match &context {
                None => ContextLmConfig::new(backbone.clone()).init(device).unwrap(),
                Some(context) => contextlm(backbone.clone(), context.clone(), device),
            };
            let fusion = context.as_ref().map(|context| context.fusion);
            let expected = results_of(&build, &cpu(), 60, None);
            for (low, tolerance) in [(None, tolerance(&name)), (Some(FloatDType::BF16), BF16)] {
                let found = results_of(&build, &device, 60, low);
                wrong.extend(difference(&found, &expected, tolerance, &format!("{name}, {kind}, {fusion:?}, {low:?}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn gpt_2() {
    check("GPT-2", wide()[0].clone());
}

#[test]
fn gpt_neox() {
    check("GPT-NeoX", wide()[1].clone());
}

#[test]
fn llama_family() {
    check("Llama", wide()[2].clone());
}

/// Fifty steps of training on a GPU have the losses that they have on flex.
#[test]
fn training_follows_flex() {
    let train = |device: &Device, dtype: TrainDtype| {
        let config = ContextLmConfig::new(wide()[0].clone()).with_default_context();
        let model = config.init_seeded(1, &device.clone().autodiff()).unwrap();
        let mut trainer = Trainer::new(model, TrainConfig { steps: 50, dtype, ..TrainConfig::default() }).unwrap();
        // Text that can be learned: each token follows from the one before, but for every fourth.
        let noise = tokens(1, 3000, 257, 5).into_iter().enumerate();
        let stream = noise.scan(0, |last, (at, token)| {
            *last = if at % 4 == 0 { token as u32 } else { (*last * 7 + 3) % 257 };
            Some(*last)
        });
        let batches = Batches::new(stream.collect::<Vec<_>>(), 48, 4, 3).unwrap();
        let steps = (0..50).map(|at| trainer.step(&batches.batch(at).unwrap()).unwrap().loss);
        steps.collect::<Vec<f64>>()
    };
    for (name, device) in gpus() {
        let expected = train(&cpu(), TrainDtype::F32);
        assert!(expected[49] < expected[0] - 1.0, "flex learns: {expected:?}");
        for (dtype, tolerance) in [(TrainDtype::F32, 1e-2), (TrainDtype::Bf16, 3e-2)] {
            let found = train(&device, dtype);
            let error = |(found, expected): (&f64, &f64)| (found - expected).abs() / expected;
            let worst = found.iter().zip(&expected).map(error).fold(0.0, f64::max);
            println!("{name}, {dtype:?}: 50 losses from {:.4} to {:.4}, {worst:.1e}", found[0], found[49]);
            assert!(worst <= tolerance, "{name}, {dtype:?}: {found:?} instead of {expected:?}");
        }
    }
}
