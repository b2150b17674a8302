//! NVIDIA's GPUs, whose matrix units may take f32 in a way of their own, against flex, and bf16 wherever it can be computed:
//! `cargo test -p contextlm-tests --features cuda-cpp`, or with `CONTEXTLM_TEST_DEVICES=libtorch-cuda` and `--features
//! libtorch`.

use burn::tensor::{Device, FloatDType};
use contextlm_core::{
    BackboneConfig, ContextConfig, ContextLmConfig, FusionKind, Gpt2Config, GptNeoXConfig, LlamaConfig,
};
use contextlm_data::Batches;
use contextlm_tests::{FUSIONS, contextlm, cpu, disturb_by, gpt2, llama, neox, tokens};
use contextlm_train::{TrainConfig, Trainer};

use crate::backends::{BF16, F32, devices, difference, results_of, rounded_results_of, together};

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
    devices().into_iter().filter(|(name, _)| name.ends_with("cuda"))
}

/// A family, plain or with a fusion, in f32.
fn check(family: usize, fusion: Option<FusionKind>) {
    let backbone = &wide()[family];
    let build = |device: &Device| match fusion {
        None => ContextLmConfig::new(backbone.clone()).init(device).unwrap(),
        Some(fusion) => contextlm(backbone.clone(), ContextConfig { fusion, ..ContextConfig::default() }, device),
    };
    let family = ["GPT-2", "GPT-NeoX", "Llama"][family];
    for (name, device) in gpus() {
        let (found, expected) = (results_of(&build, &device, 60), results_of(&build, &cpu(), 60));
        assert_eq!(difference(&found, &expected, F32, &format!("{name}, {family}, {fusion:?}")), None);
    }
}

/// bf16 on a GPU, of which every product and the attention are its own, and on LibTorch's CPU, against f32 on flex; contexts
/// nearly as they are initialised, but that projections of contexts are not 0.
#[test]
fn bf16_computes_what_f32_computes() {
    let mut wrong = Vec::new();
    let with_bf16 = || devices().into_iter().filter(|(name, _)| name != "wgpu");
    for ((name, device), backbone) in with_bf16().flat_map(|device| wide().map(|backbone| (device.clone(), backbone))) {
        let plain = ContextLmConfig::new(backbone);
        let with = |fusion| plain.clone().with_context(ContextConfig { fusion, ..ContextConfig::measured() });
        for config in [vec![plain.clone()], FUSIONS.map(with).to_vec()].concat() {
            let fusion = config.context.as_ref().map(|context| context.fusion);
            // A gate's gradient is one number, a sum that may cancel until what is off in it is the larger; those of several
            // models do not cancel all at once.
            let models = if fusion == Some(FusionKind::GatedAdd) { 8 } else { 1 };
            let build = |seed, device: &Device| disturb_by(0.01, config.init_seeded(seed, device).unwrap());
            let results = |device: &Device, dtype| {
                let of = |seed| rounded_results_of(&|device| build(seed, device), device, 60, dtype);
                together((1..=models).map(of).collect())
            };
            let (found, expected) = (results(&device, FloatDType::BF16), results(&cpu(), FloatDType::F32));
            let parameters = build(1, &cpu()).parameters().total;
            let what = format!("{name}, bf16, {models} of {parameters} parameters, {fusion:?}");
            wrong.extend(difference(&found, &expected, BF16, &what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A test of its own for every fusion: each compiles kernels for minutes, and they can run side by side in programs of their
/// own.
macro_rules! every_fusion {
    ($family:ident, $number:literal) => {
        mod $family {
            use contextlm_core::FusionKind;

            #[test]
            fn plain() {
                super::check($number, None);
            }
            #[test]
            fn add() {
                super::check($number, Some(FusionKind::Add));
            }
            #[test]
            fn normed_add() {
                super::check($number, Some(FusionKind::NormedAdd));
            }
            #[test]
            fn gated_add() {
                super::check($number, Some(FusionKind::GatedAdd));
            }
            #[test]
            fn projected_add() {
                super::check($number, Some(FusionKind::ProjectedAdd));
            }
            #[test]
            fn concat() {
                super::check($number, Some(FusionKind::Concat));
            }
            #[test]
            fn interleave() {
                super::check($number, Some(FusionKind::Interleave));
            }
        }
    };
}
every_fusion!(gpt_2, 0);
every_fusion!(gpt_neox, 1);
every_fusion!(llama, 2);

/// Fifty steps of training on a GPU have the losses that they have on flex.
#[test]
fn training_follows_flex() {
    let train = |device: &Device| {
        let config = ContextLmConfig::new(wide()[0].clone()).with_default_context();
        let model = config.init_seeded(1, &device.clone().autodiff()).unwrap();
        let mut trainer = Trainer::new(model, TrainConfig { steps: 50, ..TrainConfig::default() }).unwrap();
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
        let (found, expected) = (train(&device), train(&cpu()));
        assert!(expected[49] < expected[0] - 1.0, "flex learns: {expected:?}");
        let error = |(found, expected): (&f64, &f64)| (found - expected).abs() / expected;
        let worst = found.iter().zip(&expected).map(error).fold(0.0, f64::max);
        println!("\n{name}: 50 losses from {:.4} to {:.4}, {worst:.1e}", found[0], found[49]);
        assert!(worst <= 1e-3, "{name}: {found:?} instead of {expected:?}");
    }
}
