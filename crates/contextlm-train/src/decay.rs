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
