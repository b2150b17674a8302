//! Muon as `torch.optim.Muon` has it, on burn's momentum and Newton-Schulz iteration.

use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdjustLrFn as BurnAdjustLrFn, MuonConfig, MuonState, Optimizer};
use burn::tensor::{Device, Tensor};

use crate::{AdjustLrFn, OptimizerConfig};

/// PyTorch's floor of the norm that an update is divided by.
const EPS: f64 = 1e-7;

/// How a matrix lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// [inputs, outputs], as of burn's linear maps.
    InputsFirst,
    /// [outputs, inputs], as of PyTorch's.
    OutputsFirst,
}

/// The rule of a group of matrices.
#[derive(Clone)]
pub(crate) struct Muon {
    composed: burn::optim::Muon,
    weight_decay: f64,
    adjust_lr_fn: AdjustLrFn,
    layout: Layout,
}

impl Muon {
    pub(crate) fn new(config: &OptimizerConfig, layout: Layout) -> Self {
        let OptimizerConfig { momentum, nesterov, ns_steps, weight_decay, adjust_lr_fn, .. } = *config;
        let composed = MuonConfig::new()
            // PyTorch's buffer is a mean, burn's without dampening a sum, which is 1 / (1 - momentum) times as large. Only
            // the direction counts, and this floor.
            .with_momentum(MomentumConfig { momentum, dampening: 0.0, nesterov })
            .with_epsilon((EPS / (1.0 - momentum)) as f32)
            .with_ns_steps(ns_steps)
            .with_adjust_lr_fn(BurnAdjustLrFn::MatchRmsAdamW)
            .build();
        Self { composed, weight_decay, adjust_lr_fn, layout }
    }
}

impl Optimizer for Muon {
    type State<const D: usize> = MuonState<D>;

    /// Decays by `lr`, updates by the rate that is adjusted to the shape.
    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<MuonState<D>>,
    ) -> (Tensor<D>, Option<MuonState<D>>) {
        let shape = tensor.dims();
        let (outputs, inputs) = match self.layout {
            Layout::InputsFirst => (shape[D - 1], shape[0]),
            Layout::OutputsFirst => (shape[0], shape[D - 1]),
        };
        let tensor = match self.weight_decay {
            0.0 => tensor,
            decay => tensor.mul_scalar(1.0 - lr * decay),
        };
        // burn's factor does not depend on the layout, and is taken out again.
        let burns = AdjustLrFn::MatchRmsAdamw.factor(outputs, inputs);
        let adjusted = match self.adjust_lr_fn {
            AdjustLrFn::MatchRmsAdamw => lr,
            AdjustLrFn::Original => lr * AdjustLrFn::Original.factor(outputs, inputs) / burns,
        };
        self.composed.step(adjusted, tensor, gradient, state)
    }

    fn to_device<const D: usize>(state: MuonState<D>, device: &Device) -> MuonState<D> {
        burn::optim::Muon::to_device(state, device)
    }
}
