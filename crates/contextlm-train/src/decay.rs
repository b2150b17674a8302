use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::Tensor;

use crate::TrainConfig;

/// How many tensors and parameters have weight decay, and how many have none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecayGroups {
    /// Matrices and embeddings: `(tensors, parameters)`.
    pub decayed: (usize, usize),
    /// Vectors (biases, norms, the initial context, the gate): `(tensors, parameters)`.
    pub not_decayed: (usize, usize),
}

/// Counts the groups of a model.
pub fn decay_groups<M: Module>(model: &M) -> DecayGroups {
    split(model).1
}

/// AdamW over the model, with weight decay on tensors of two or more dimensions only.
pub(crate) fn adamw<M: Module>(model: &M, config: &TrainConfig) -> ModuleOptimizer {
    let with_decay = |decay: f64| {
        AdamWConfig::new()
            .with_beta_1(config.betas.0 as f32)
            .with_beta_2(config.betas.1 as f32)
            .with_epsilon(config.eps as f32)
            .with_weight_decay(decay as f32)
    };
    let vectors = ParamGroup::from_ids(split(model).0);
    with_decay(config.weight_decay).init().with_group(vectors, with_decay(0.0).build(), None)
}

/// The parameters without decay, and the counts.
fn split<M: Module>(model: &M) -> (Vec<ParamId>, DecayGroups) {
    #[derive(Default)]
    struct Split(Vec<ParamId>, DecayGroups);
    impl ModuleVisitor for Split {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let group = if D < 2 {
                self.0.push(param.id);
                &mut self.1.not_decayed
            } else {
                &mut self.1.decayed
            };
            group.0 += 1;
            group.1 += param.lazy_shape().num_elements();
        }
    }
    let mut split = Split::default();
    model.visit(&mut split);
    (split.0, split.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::GradientsParams;

    /// PyTorch's AdamW in f64, one parameter: decoupled decay, both moments unbiased, epsilon outside of the root.
    struct AdamW(f64, f64);

    impl AdamW {
        fn step(&mut self, config: &TrainConfig, decay: f64, t: i32, lr: f64, x: f64, gradient: f64) -> f64 {
            let (beta_1, beta_2) = config.betas;
            self.0 = beta_1 * self.0 + (1.0 - beta_1) * gradient;
            self.1 = beta_2 * self.1 + (1.0 - beta_2) * gradient * gradient;
            let (m, v) = (self.0 / (1.0 - beta_1.powi(t)), self.1 / (1.0 - beta_2.powi(t)));
            x * (1.0 - lr * decay) - lr * m / (v.sqrt() + config.eps)
        }
    }

    #[test]
    fn steps_are_those_of_pytorch_with_decay_on_matrices_only() {
        let device = contextlm_device::device("cpu").unwrap().autodiff();
        // An epsilon that shows where it is added, and a decay that shows whom it falls on.
        let config = TrainConfig { eps: 0.05, weight_decay: 0.3, ..TrainConfig::default() };
        let mut model: Linear = LinearConfig::new(1, 2).init(&device);
        let values = |model: &Linear| {
            let [weight, bias] = [model.weight.val().flatten(0, 1), model.bias.as_ref().unwrap().val()];
            [weight, bias].map(|tensor: Tensor<1>| tensor.into_data().try_to_vec::<f32>().unwrap())
        };
        let mut optimizer = adamw(&model, &config);
        let mut expected = values(&model).concat().into_iter().map(f64::from).collect::<Vec<_>>();
        let mut states = [(); 4].map(|()| AdamW(0.0, 0.0));
        for (t, lr) in [(1, 0.1), (2, 0.2), (3, 0.05), (4, 0.15)] {
            let gradient = |i: usize| [0.3_f32, -0.02, 0.001, 4.0][i] * [1.0, -2.0, 0.5, 3.0][t as usize - 1];
            let mut gradients = GradientsParams::new();
            let inner = device.clone().inner();
            gradients.register(model.weight.id, Tensor::<2>::from_floats([[gradient(0), gradient(1)]], &inner));
            let bias = Tensor::<1>::from_floats([gradient(2), gradient(3)], &inner);
            gradients.register(model.bias.as_ref().unwrap().id, bias);
            model = optimizer.step(lr, model, gradients);
            for (i, (x, state)) in expected.iter_mut().zip(&mut states).enumerate() {
                let decay = if i < 2 { config.weight_decay } else { 0.0 };
                *x = state.step(&config, decay, t, lr, *x, f64::from(gradient(i)));
            }
            for (ours, pytorch) in values(&model).concat().into_iter().zip(&expected) {
                assert!((f64::from(ours) - pytorch).abs() < 1e-6, "step {t}: {ours} and {pytorch}");
            }
        }
    }
}
