//! The optimizer of a whole model: burn's rules for a tensor, and the state of every parameter under its path.
//!
//! burn's own `ModuleOptimizer` keeps states under ids that every model draws anew, and loads them through the default
//! device. Paths are the same in every process, which is what a run needs that goes on after a crash.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{DynOptimizer, DynState, GradientsParams, StateSink, StateSource};
use burn::tensor::{Device, Tensor, TensorData};
use contextlm_core::ModulePath;
use contextlm_kernels::adamw_together;

use crate::adamw::AdamW;
use crate::muon::{Layout, Muon};
use crate::{OptimizerConfig, OptimizerName};

/// How many tensors and parameters have weight decay, and how many have none. Frozen ones are in neither group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecayGroups {
    /// Matrices and embeddings: `(tensors, parameters)`.
    pub decayed: (usize, usize),
    /// Vectors (biases, norms, the initial context, the gate): `(tensors, parameters)`.
    pub not_decayed: (usize, usize),
}

impl DecayGroups {
    /// Counts a tensor of so many dimensions and parameters.
    pub(crate) fn add(&mut self, rank: usize, parameters: usize) {
        let group = if decays(rank) { &mut self.decayed } else { &mut self.not_decayed };
        group.0 += 1;
        group.1 += parameters;
    }
}

/// Counts the groups of a model. Parameters that have no values yet get them.
pub fn decay_groups<M: Module>(model: &M) -> DecayGroups {
    struct Count(DecayGroups);
    impl ModuleVisitor for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                self.0.add(D, param.lazy_shape().num_elements());
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
    pooling: Box<dyn DynOptimizer>,
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
        let adamw = |decay: f64| AdamW::new(config, decay);
        let decay = config.weight_decay;
        let of_matrices = |layout| -> Box<dyn DynOptimizer> {
            match config.name {
                OptimizerName::AdamW => Box::new(adamw(decay)),
                OptimizerName::Muon => Box::new(Muon::new(config, layout)),
            }
        };
        Self {
            matrices: of_matrices(Layout::InputsFirst),
            pooling: of_matrices(Layout::OutputsFirst),
            embeddings: Box::new(adamw(decay)),
            vectors: Box::new(adamw(0.0)),
            states: BTreeMap::new(),
        }
    }

    /// Updates every parameter that has a gradient.
    pub(crate) fn step<M: Module>(&mut self, lr: f64, model: M, gradients: GradientsParams) -> M {
        adamw_together(|| model.map(&mut Step { optimizer: self, lr, gradients, path: ModulePath::default() }))
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
            // Learned pooling lies as in its file, all other maps as burn has them.
            (true, true) if path == "context.embedding.pool.weight" => &*self.pooling,
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
        let strategy = tensor.gradient_checkpointing_strategy();
        let state = self.optimizer.states.remove(&path);
        let rule = self.optimizer.rule(&path, D);
        let (updated, state) = rule.step_dyn(D, self.lr, tensor.inner().into_bridge(), gradient.into_bridge(), state);
        if let Some(state) = state {
            self.optimizer.states.insert(path, state);
        }
        // Back on the tape, with the strategy of the other parameters.
        let mut updated = Tensor::from_inner(Tensor::<D>::from_bridge(updated));
        if let Some(strategy) = strategy {
            updated = updated.with_gradient_checkpointing_strategy(strategy);
        }
        Param::from_mapped_value(id, updated.require_grad(), mapper)
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }
}

#[cfg(test)]
mod pytorch;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::random_numbers;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Tensor;

    /// PyTorch's AdamW in f64, one parameter: decoupled decay, both moments unbiased, epsilon outside of the root.
    struct AdamW(f64, f64);

    impl AdamW {
        fn step(&mut self, config: &OptimizerConfig, decay: f64, t: i32, lr: f64, x: f64, gradient: f64) -> f64 {
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
        let config = OptimizerConfig { eps: 0.05, weight_decay: 0.3, ..OptimizerConfig::default() };
        let guard = random_numbers();
        let mut model: Linear = LinearConfig::new(1, 2).init(&device);
        let values = |model: &Linear| {
            let [weight, bias] = [model.weight.val().flatten(0, 1), model.bias.as_ref().unwrap().val()];
            [weight, bias].map(|tensor: Tensor<1>| tensor.into_data().try_to_vec::<f32>().unwrap())
        };
        let mut optimizer = Optimizer::new(&config);
        let first = values(&model);
        drop(guard);
        let mut expected = first.concat().into_iter().map(f64::from).collect::<Vec<_>>();
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

    /// A model with an embedding outside of a list, and maps in one.
    #[derive(Module, Debug)]
    struct Stack {
        embedding: Linear,
        layers: Vec<Linear>,
    }

    fn stack() -> (Stack, Device) {
        let device = contextlm_device::device("cpu").unwrap().autodiff();
        let _guard = random_numbers();
        let linear = || LinearConfig::new(4, 4).init(&device);
        let model = Stack { embedding: linear(), layers: vec![linear(), linear()] };
        numbers(&model); // they are drawn when they are first looked at
        (model, device)
    }

    fn gradients(model: &Stack, device: &Device) -> GradientsParams {
        let x = Tensor::<2>::from_floats([[1.0, -2.0, 0.5, 3.0], [0.1, 0.7, -0.3, 1.0]], device);
        let y = model.layers.iter().fold(model.embedding.forward(x), |x, layer| layer.forward(x).tanh());
        GradientsParams::from_grads(y.square().sum().backward(), model)
    }

    fn numbers(model: &Stack) -> Vec<f32> {
        struct Numbers(Vec<f32>);
        impl ModuleVisitor for Numbers {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.extend(param.val().into_data().try_to_vec::<f32>().unwrap());
            }
        }
        let mut numbers = Numbers(Vec::new());
        model.visit(&mut numbers);
        numbers.0
    }

    #[test]
    fn a_state_goes_out_and_in_and_the_next_steps_are_the_same_bit_by_bit() {
        for name in [OptimizerName::AdamW, OptimizerName::Muon] {
            let config = OptimizerConfig { name, ..OptimizerConfig::default() };
            let (mut model, device) = stack();
            let mut optimizer = Optimizer::new(&config);
            for _ in 0..3 {
                let gradients = gradients(&model, &device);
                model = optimizer.step(0.01, model, gradients);
            }
            let state = optimizer.state();
            let mut again = Optimizer::new(&config);
            assert!(again.restore(&model, state.clone(), &device.clone().inner()).is_empty());
            assert_eq!(again.state(), state);
            let next = |optimizer: &mut Optimizer| {
                let gradients = gradients(&model, &device);
                numbers(&optimizer.step(0.01, model.clone(), gradients))
            };
            let whole = next(&mut optimizer);
            assert!(whole == next(&mut again), "{name:?}");
            assert!(whole != next(&mut Optimizer::new(&config)), "{name:?}: the state matters");

            // What is missing is named.
            let mut less = state;
            less.tensors.retain(|name, _| !name.starts_with("layers.1.weight"));
            let missing = Optimizer::new(&config).restore(&model, less, &device.clone().inner());
            assert_eq!(missing, ["layers.1.weight"]);
        }
    }

    #[test]
    fn muon_is_for_the_matrices_of_blocks() {
        let (model, device) = stack();
        let step = |name| {
            let model = model.clone();
            let gradients = gradients(&model, &device);
            Optimizer::new(&OptimizerConfig { name, ..OptimizerConfig::default() }).step(0.01, model, gradients)
        };
        let (adamw, muon) = (step(OptimizerName::AdamW), step(OptimizerName::Muon));
        let weight = |linear: &Linear| linear.weight.val().into_data().try_to_vec::<f32>().unwrap();
        let bias = |linear: &Linear| linear.bias.as_ref().unwrap().val().into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(weight(&adamw.embedding), weight(&muon.embedding));
        for (adamw, muon) in adamw.layers.iter().zip(&muon.layers) {
            assert_ne!(weight(adamw), weight(muon));
            assert_eq!(bias(adamw), bias(muon));
        }
    }
}
