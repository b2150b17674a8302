//! Gradients: causal, those of both uses of a tied head, and those of finite differences.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
use contextlm_core::{
    AnyBackbone, Backbone, BackboneConfig, ContextConfig, ContextLm, ContextLmConfig, Gpt2Config, Positions,
};
use contextlm_tests::{
    FUSIONS, POOLINGS, VOCABULARY, backbones, contextlm, cpu, global_norm, gpt2, gradients, ids, llama, neox, norm,
    tokens, values,
};

#[test]
fn the_loss_at_a_position_has_no_gradient_at_later_embeddings() {
    let device = cpu().autodiff();
    let (length, width) = (7, 16);
    for (backbone, poolings) in [(gpt2(), &POOLINGS[..]), (neox(), &POOLINGS[..1]), (llama(), &POOLINGS[..1])] {
        for fusion in FUSIONS {
            for &pooling in poolings {
                let context =
                    ContextConfig { chunk_size: 3, encoder_layers: 1, fusion, pooling, ..ContextConfig::default() };
                let model = contextlm(backbone.clone(), context, &device);
                let at = Positions::causal(length, &device);
                let row = ids(&tokens(1, length, VOCABULARY, 5), 1, &device);
                let embedded = model.backbone.embed(row, &at).detach();
                for i in 0..length {
                    let leaf = embedded.clone().require_grad();
                    let logits = model.forward_embedded(leaf.clone(), &at).narrow(1, i, 1);
                    let loss = log_softmax(logits, 2).narrow(2, 3, 1).neg().sum();
                    let gradient = values(leaf.grad(&loss.backward()).unwrap());
                    let later = &gradient[(i + 1) * width..];
                    assert!(later.iter().all(|&value| value == 0.0), "{fusion:?} {pooling:?}: gradient after {i}");
                    let own = &gradient[i * width..(i + 1) * width];
                    assert!(norm(own) > 0.0, "{fusion:?} {pooling:?}: no gradient at {i}");
                }
            }
        }
    }
}

#[test]
fn a_tied_head_has_the_sum_of_both_gradients() {
    let device = cpu().autodiff();
    let BackboneConfig::Gpt2(config) = gpt2() else { unreachable!() };
    let untied = BackboneConfig::Gpt2(Gpt2Config { tie_word_embeddings: false, ..config });
    let data = tokens(2, 10, VOCABULARY, 11);
    let (inputs, targets) = (ids(&data, 2, &device), ids(&tokens(2, 10, VOCABULARY, 12), 2, &device));

    let tied = ContextLmConfig::new(gpt2()).with_default_context().init(&device).unwrap();
    let mut copies = ContextLmConfig::new(untied).with_default_context().init(&device).unwrap();
    let AnyBackbone::Gpt2(backbone) = &mut copies.backbone else { unreachable!() };
    backbone.lm_head = Some(Param::from_tensor(backbone.wte.val().detach()));

    let of = |model: &ContextLm, path: &str| {
        let all = gradients(model, model.loss(inputs.clone(), targets.clone()));
        all.into_iter().find(|(name, _)| name == path).unwrap().1
    };
    let both = of(&tied, "backbone.wte");
    let (input, head) = (of(&copies, "backbone.wte"), of(&copies, "backbone.lm_head"));
    assert!(norm(&input) > 1e-3 && norm(&head) > 1e-3, "both uses have a gradient");
    for (i, &both) in both.iter().enumerate() {
        let sum = input[i] + head[i];
        assert!((both - sum).abs() <= 1e-5 * (1.0 + sum.abs()), "element {i}: {both} is not {sum}");
    }
}

/// Adds `scale` times a direction to the parameter with this number.
struct Move<'a> {
    left: usize,
    direction: &'a [f32],
    scale: f32,
}

impl ModuleMapper for Move<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.left != 0 {
            self.left = self.left.wrapping_sub(1);
            return param;
        }
        self.left = usize::MAX;
        let values: Vec<f32> = self.direction.iter().map(|value| value * self.scale).collect();
        param.map(|tensor| {
            let step = TensorData::new(values.clone(), tensor.dims());
            tensor.clone() + Tensor::<D>::from_data(step, &tensor.device())
        })
    }
}

/// Along every parameter's gradient the loss grows as fast as the gradient says.
#[test]
fn gradients_are_those_of_finite_differences() {
    let (train, plain) = (cpu().autodiff(), cpu());
    let (inputs, targets) = (tokens(2, 8, VOCABULARY, 21), tokens(2, 8, VOCABULARY, 22));
    for backbone in backbones() {
        for (fusion, pooling) in FUSIONS.into_iter().zip(POOLINGS.into_iter().cycle()) {
            let context =
                ContextConfig { chunk_size: 3, encoder_layers: 1, fusion, pooling, ..ContextConfig::default() };
            let model = contextlm(backbone.clone(), context.clone(), &train);
            let loss = model.loss(ids(&inputs, 2, &train), ids(&targets, 2, &train));
            let all = gradients(&model, loss);
            let total = global_norm(&all);
            let same = contextlm(backbone.clone(), context, &plain);
            let mut checked = 0;
            for (i, (path, gradient)) in all.iter().enumerate() {
                let expected = norm(gradient);
                if expected < 5e-3 * total {
                    continue; // drowned in the rounding of the loss
                }
                let direction: Vec<f32> = gradient.iter().map(|value| (f64::from(*value) / expected) as f32).collect();
                let loss = |scale: f32| {
                    let moved = same.clone().map(&mut Move { left: i, direction: &direction, scale });
                    moved.loss(ids(&inputs, 2, &plain), ids(&targets, 2, &plain)).into_scalar::<f64>()
                };
                let step = 1e-3;
                let found = (loss(step) - loss(-step)) / (2.0 * f64::from(step));
                let error = (found - expected).abs();
                assert!(error <= 0.03 * expected + 2e-3, "{fusion:?} {path}: {found} is not {expected}");
                checked += 1;
            }
            assert!(checked > 20, "{fusion:?}: only {checked} tensors could be checked");
        }
    }
}
