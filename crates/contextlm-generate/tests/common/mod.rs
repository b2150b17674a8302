//! Small models, and the comparison of logits that "equals" means.
#![allow(clippy::unwrap_used, dead_code)]

use contextlm_core::{
    BackboneConfig, ContextConfig, ContextLm, ContextLmConfig, Device, FusionKind, Gpt2Config, GptNeoXConfig, Int,
    LlamaConfig, Module, Pooling, Tensor,
};

pub const VOCABULARY: usize = 23;
pub const FUSIONS: [FusionKind; 6] = [
    FusionKind::Add,
    FusionKind::NormedAdd,
    FusionKind::GatedAdd,
    FusionKind::ProjectedAdd,
    FusionKind::Concat,
    FusionKind::Interleave,
];
pub const POOLINGS: [Pooling; 5] = [Pooling::Mean, Pooling::Last, Pooling::First, Pooling::Max, Pooling::Learned];

pub fn cpu() -> Device {
    contextlm_device::device("cpu").unwrap()
}

pub fn neox(positions: usize) -> BackboneConfig {
    BackboneConfig::GptNeoX(GptNeoXConfig {
        vocab_size: VOCABULARY,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 32,
        rotary_pct: Some(0.5),
        max_position_embeddings: positions,
        initializer_range: 0.2,
        ..GptNeoXConfig::default()
    })
}

pub fn gpt2(positions: usize) -> BackboneConfig {
    BackboneConfig::Gpt2(Gpt2Config {
        vocab_size: VOCABULARY,
        n_positions: positions,
        n_embd: 16,
        n_layer: 2,
        n_head: 2,
        resid_pdrop: 0.0,
        embd_pdrop: 0.0,
        attn_pdrop: 0.0,
        initializer_range: 0.2,
        ..Gpt2Config::default()
    })
}

/// With four heads that share two key and value heads.
pub fn llama(positions: usize) -> BackboneConfig {
    BackboneConfig::Llama(LlamaConfig {
        vocab_size: VOCABULARY,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        max_position_embeddings: positions,
        initializer_range: 0.2,
        ..LlamaConfig::default()
    })
}

/// A model whose context parts all do something: parameters that start at zero do not stay there.
pub fn model(backbone: BackboneConfig, context: Option<ContextConfig>) -> ContextLm {
    struct Disturb(usize);

    impl burn::module::ModuleMapper for Disturb {
        fn map_float<const R: usize>(
            &mut self,
            param: burn::module::Param<Tensor<R>>,
        ) -> burn::module::Param<Tensor<R>> {
            self.0 += 1;
            let (number, device) = (self.0, param.val().device());
            let dims: [usize; R] = param.val().dims();
            let noise = |i: usize| (((i + 31 * number) as f32) * 12.9898).sin() * 0.15;
            let values: Vec<f32> = (0..dims.iter().product()).map(noise).collect();
            param.map(|tensor| tensor + Tensor::from_data(burn::tensor::TensorData::new(values, dims), &device))
        }
    }

    let config = ContextLmConfig { context, ..ContextLmConfig::new(backbone) };
    Module::map(config.init(&cpu()).unwrap(), &mut Disturb(0))
}

/// Tokens that do not repeat soon.
pub fn tokens(length: usize, seed: usize) -> Vec<u32> {
    (0..length).map(|i| ((i * i * 7 + i * 3 + seed * 11 + i / 5) % VOCABULARY) as u32).collect()
}

/// Logits of the full forward pass, one vector a position.
pub fn full(model: &ContextLm, tokens: &[u32]) -> Vec<Vec<f32>> {
    let ids: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
    rows(model.forward(Tensor::<1, Int>::from_ints(ids.as_slice(), &cpu()).unsqueeze()))
}

pub fn rows(logits: Tensor<3>) -> Vec<Vec<f32>> {
    let values: Vec<f32> = logits.into_data().try_to_vec().unwrap();
    values.chunks(VOCABULARY).map(<[f32]>::to_vec).collect()
}

/// What "equal" allows, as a share of max(1, the largest logit).
const TOLERANCE: f32 = 1e-5;

fn largest(logits: &[Vec<f32>]) -> f32 {
    logits.iter().flatten().fold(1.0, |largest, value| largest.max(value.abs()))
}

/// The token of the largest logit, and by how much it leads.
pub fn first_choice(logits: &[f32]) -> (usize, f32) {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    (order[0], logits[order[0]] - logits[order[1]])
}

/// Whether the first choice leads by so much that greedy text has to be the same.
pub fn is_clear(logits: &[f32]) -> bool {
    first_choice(logits).1 > 10.0 * TOLERANCE * largest(&[logits.to_vec()])
}

/// Logits within the tolerance, and the same first choice where it is clear.
#[track_caller]
pub fn assert_equal(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    let worst = pairs.fold(0.0_f32, |worst, (a, b)| if a.is_nan() { f32::INFINITY } else { worst.max((a - b).abs()) });
    assert!(worst <= TOLERANCE * largest(expected), "{what}: {worst}");
    for (found, expected) in found.iter().zip(expected).filter(|(_, expected)| is_clear(expected)) {
        assert_eq!(first_choice(found).0, first_choice(expected).0, "{what}");
    }
}
