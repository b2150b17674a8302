//! What the tests share: small models and ways to compare them.
#![allow(clippy::unwrap_used)] // test code

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use contextlm_core::{
    Backbone, BackboneConfig, ContextConfig, ContextLm, ContextLmConfig, FusionKind, Gpt2Config, GptNeoXConfig,
    LlamaConfig, ModulePath, Pooling,
};

/// The README's Rust code, compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// Vocabulary of the small models.
pub const VOCABULARY: usize = 23;

/// Every fusion.
pub const FUSIONS: [FusionKind; 6] = [
    FusionKind::Add,
    FusionKind::NormedAdd,
    FusionKind::GatedAdd,
    FusionKind::ProjectedAdd,
    FusionKind::Concat,
    FusionKind::Interleave,
];

/// Every pooling.
pub const POOLINGS: [Pooling; 5] = [Pooling::Mean, Pooling::Last, Pooling::First, Pooling::Max, Pooling::Learned];

/// A GPT-2 of width 16, two layers and two heads, without dropout.
pub fn gpt2() -> BackboneConfig {
    BackboneConfig::Gpt2(Gpt2Config {
        vocab_size: VOCABULARY,
        n_positions: 64,
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

/// A GPT-NeoX of width 16, two layers and two heads, half of each head rotated.
pub fn neox() -> BackboneConfig {
    BackboneConfig::GptNeoX(GptNeoXConfig {
        vocab_size: VOCABULARY,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 64,
        rotary_pct: Some(0.5),
        max_position_embeddings: 64,
        initializer_range: 0.2,
        ..GptNeoXConfig::default()
    })
}

/// A Llama of width 16, two layers, four heads of eight dimensions that share two key and value heads, and a tied head.
pub fn llama() -> BackboneConfig {
    BackboneConfig::Llama(LlamaConfig {
        vocab_size: VOCABULARY,
        hidden_size: 16,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        head_dim: Some(8),
        max_position_embeddings: 64,
        initializer_range: 0.2,
        tie_word_embeddings: true,
        ..LlamaConfig::default()
    })
}

/// One of every family.
pub fn backbones() -> [BackboneConfig; 3] {
    [gpt2(), neox(), llama()]
}

/// The CPU device that every build of the tests has.
pub fn cpu() -> Device {
    contextlm_device::device("cpu").unwrap()
}

/// A small ContextLM whose context path is not at its starting values where those are 0, so that contexts matter: gates,
/// projections and the initial context are drawn anew.
pub fn contextlm(backbone: BackboneConfig, context: ContextConfig, device: &Device) -> ContextLm {
    disturb(ContextLmConfig::new(backbone).with_context(context).init(device).unwrap())
}

/// Adds to every parameter of the context path a pattern that depends on its place, in the order of the modules.
pub fn disturb<B: Backbone>(model: ContextLm<B>) -> ContextLm<B> {
    disturb_by(0.2, model)
}

/// The same with a pattern of another height.
pub fn disturb_by<B: Backbone>(height: f32, mut model: ContextLm<B>) -> ContextLm<B> {
    struct Disturb {
        height: f32,
        phase: f32,
    }
    impl ModuleMapper for Disturb {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.phase += 1.0;
            let (height, phase) = (self.height, self.phase);
            param.map(|tensor| {
                let shape = tensor.dims();
                let count = shape.iter().product::<usize>();
                let values: Vec<f32> = (0..count).map(|i| height * ((i as f32) * 0.7 + phase).sin()).collect();
                let grad = tensor.is_require_grad();
                let noise = Tensor::<D>::from_data(TensorData::new(values, shape), &tensor.device());
                (tensor.detach() + noise).detach().set_require_grad(grad)
            })
        }
    }
    model.context = model.context.map(|path| path.map(&mut Disturb { height, phase: 0.0 }));
    model
}

/// Tokens from a small generator, the same for the same seed.
pub fn tokens(rows: usize, length: usize, vocabulary: usize, seed: u64) -> Vec<i64> {
    let mut state = seed.wrapping_mul(2) + 1;
    (0..rows * length)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) % vocabulary as u64) as i64
        })
        .collect()
}

/// Token ids as a tensor [rows, length].
pub fn ids(values: &[i64], rows: usize, device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [rows, values.len() / rows]), device)
}

/// A tensor's values as f32.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap()
}

/// Asserts that two tensors differ by at most `tolerance` x max(1, largest value).
#[track_caller]
pub fn assert_close<const D: usize>(left: Tensor<D>, right: Tensor<D>, tolerance: f32, what: &str) {
    assert_eq!(left.dims(), right.dims(), "{what}: shapes");
    let (left, right) = (values(left), values(right));
    let largest = right.iter().fold(1.0f32, |largest, value| largest.max(value.abs()));
    let worst = left.iter().zip(&right).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst <= tolerance * largest, "{what}: differs by {worst}, allowed {}", tolerance * largest);
    assert!(left.iter().all(|value| value.is_finite()), "{what}: not finite");
}

/// Every parameter's path and values.
pub fn parameters<B: Backbone>(model: &ContextLm<B>) -> Vec<(String, Vec<f32>)> {
    struct Walk(ModulePath, Vec<(String, Vec<f32>)>);
    impl ModuleVisitor for Walk {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push((self.0.path(), values(param.val())));
        }
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.0.enter(name, container_type);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.0.exit();
        }
    }
    let mut walk = Walk(ModulePath::default(), Vec::new());
    model.visit(&mut walk);
    walk.1
}

/// Every parameter's path and the gradient of `loss`; zeros where the loss does not reach it.
pub fn gradients<B: Backbone>(model: &ContextLm<B>, loss: Tensor<1>) -> Vec<(String, Vec<f32>)> {
    struct Walk(ModulePath, GradientsParams, Vec<(String, Vec<f32>)>);
    impl ModuleVisitor for Walk {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.1.get::<D>(param.id).map(values);
            let none = || vec![0.0; param.lazy_shape().num_elements()];
            self.2.push((self.0.path(), gradient.unwrap_or_else(none)));
        }
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.0.enter(name, container_type);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.0.exit();
        }
    }
    let gradients = GradientsParams::from_grads(loss.backward(), model);
    let mut walk = Walk(ModulePath::default(), gradients, Vec::new());
    model.visit(&mut walk);
    walk.2
}

/// L2 norm.
pub fn norm<'a>(values: impl IntoIterator<Item = &'a f32>) -> f64 {
    values.into_iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// L2 norm of all gradients together.
pub fn global_norm(gradients: &[(String, Vec<f32>)]) -> f64 {
    norm(gradients.iter().flat_map(|(_, values)| values))
}
