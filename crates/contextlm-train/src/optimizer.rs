//! The optimizer of a whole model: burn's rules for a tensor, and the state of every parameter under its path.
//!
//! burn's own `ModuleOptimizer` keeps states under ids that every model draws anew, and loads them through the default
//! device. Paths are the same in every process, which is what a run needs that goes on after a crash.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{
    AdamWConfig, AdjustLrFn, DynOptimizer, DynState, GradientsParams, MuonConfig, StateSink, StateSource,
};
use burn::tensor::{Device, Tensor, TensorData};
use contextlm_core::ModulePath;

use crate::{OptimizerConfig, OptimizerName};

/// How many tensors and parameters have weight decay, and how many have none. Frozen ones are in neither group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecayGroups {
    /// Matrices and embeddings: `(tensors, parameters)`.
    pub decayed: (usize, usize),
    /// Vectors (biases, norms, the initial context, the gate): `(tensors, parameters)`.
    pub not_decayed: (usize, usize),
}

/// Counts the groups of a model.
pub fn decay_groups<M: Module>(model: &M) -> DecayGroups {
    struct Count(DecayGroups);
    impl ModuleVisitor for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                let group = if decays(D) { &mut self.0.decayed } else { &mut self.0.not_decayed };
                group.0 += 1;
                group.1 += param.lazy_shape().num_elements();
            }
        }
    }
    let mut count = Count(DecayGroups::default());
    model.visit(&mut count);
    count.0
}

/// Whether weight decay falls on tensors of a rank.
fn decays(rank: usize) -> bool {
    rank >= 2
}

/// Rules and states.
pub(crate) struct Optimizer {
    matrices: Box<dyn DynOptimizer>,
    embeddings: Box<dyn DynOptimizer>,
    vectors: Box<dyn DynOptimizer>,
    states: BTreeMap<String, DynState>,
}

/// The states of all parameters as plain data, by `path.leaf`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OptimizerState {
    /// Moments.
    pub(crate) tensors: BTreeMap<String, TensorData>,
    /// Counts of steps.
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Optimizer {
    pub(crate) fn new(config: &OptimizerConfig) -> Self {
        let adamw = |decay: f64| {
            AdamWConfig::new()
                .with_beta_1(config.betas.0 as f32)
                .with_beta_2(config.betas.1 as f32)
                .with_epsilon(config.eps as f32)
                .with_weight_decay(decay as f32)
                .build()
        };
        let decay = config.weight_decay;
        let muon = MuonConfig::new()
            .with_weight_decay((decay > 0.0).then(|| WeightDecayConfig::new(decay as f32)))
            .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW);
        Self {
            matrices: match config.name {
                OptimizerName::AdamW => Box::new(adamw(decay)),
                OptimizerName::Muon => Box::new(muon.build()),
            },
            embeddings: Box::new(adamw(decay)),
            vectors: Box::new(adamw(0.0)),
            states: BTreeMap::new(),
        }
    }

    /// Updates every parameter that has a gradient.
    pub(crate) fn step<M: Module>(&mut self, lr: f64, model: M, gradients: GradientsParams) -> M {
        model.map(&mut Step { optimizer: self, lr, gradients, path: ModulePath::default() })
    }

    /// All states.
    pub(crate) fn state(&self) -> OptimizerState {
        let mut sink = StateSink::default();
        for (path, state) in &self.states {
            self.rule(path, state.rank()).state_flatten(path, state, &mut sink);
        }
        let count = |(name, scalar)| Some((name, u64::try_from(scalar).ok()?));
        OptimizerState {
            tensors: sink.tensors.into_iter().collect(),
            counts: sink.scalars.into_iter().filter_map(count).collect(),
        }
    }

    /// Takes states back for the parameters of a model; the names of those for which there is none.
    pub(crate) fn restore<M: Module>(&mut self, model: &M, state: OptimizerState, device: &Device) -> Vec<String> {
        struct Ranks(ModulePath, Vec<(String, usize)>);
        impl ModuleVisitor for Ranks {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if param.is_require_grad() {
                    self.1.push((self.0.path(), D));
                }
            }
            fn enter_module(&mut self, name: &str, container_type: &str) {
                self.0.enter(name, container_type);
            }
            fn exit_module(&mut self, _name: &str, _container_type: &str) {
                self.0.exit();
            }
        }
        let mut ranks = Ranks(ModulePath::default(), Vec::new());
        model.visit(&mut ranks);

        let mut source = StateSource::new(state.counts.into_iter().map(|(name, count)| (name, count.into())).collect());
        for (name, data) in state.tensors {
            source.insert_tensor(name, data);
        }
        self.states.clear();
        let mut missing = Vec::new();
        for (path, rank) in ranks.1 {
            match self.rule(&path, rank).state_unflatten(rank, &path, &mut source, device) {
                Some(state) => {
                    self.states.insert(path, state);
                }
                None => missing.push(path),
            }
        }
        missing
    }

    /// The rule for a parameter.
    fn rule(&self, path: &str, rank: usize) -> &dyn DynOptimizer {
        // Muon is for maps between hidden states: those of blocks, which are in lists, and of the context path.
        let hidden = path.starts_with("context.") || path.split('.').any(|part| part.parse::<usize>().is_ok());
        match (decays(rank), hidden && rank == 2) {
            (false, _) => &*self.vectors,
            (true, true) => &*self.matrices,
            (true, false) => &*self.embeddings,
        }
    }
}

/// Walks through a model and updates parameter after parameter.
struct Step<'a> {
    optimizer: &'a mut Optimizer,
    lr: f64,
    gradients: GradientsParams,
    path: ModulePath,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return param };
        let path = self.path.path();
        let (id, tensor, mapper) = param.consume();
        let device = tensor.device();
        let state = self.optimizer.states.remove(&path);
        let rule = self.optimizer.rule(&path, D);
        let (updated, state) =
            rule.step_dyn(D, self.lr, tensor.inner().into_bridge(), gradient.into_bridge(), state);
        if let Some(state) = state {
            self.optimizer.states.insert(path, state);
        }
        let updated = on_tape(Tensor::from_bridge(updated), &device);
        Param::from_mapped_value(id, updated, mapper)
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }
}
