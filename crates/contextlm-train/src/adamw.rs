//! AdamW in one pass where there is a kernel for it, else burn's, with the same state.

use burn::optim::{AdamWConfig, AdamWState, Optimizer};
use burn::tensor::{Device, Tensor};
use contextlm_kernels::{AdamWStep, adamw};

use crate::OptimizerConfig;

/// The rule of a group of tensors.
#[derive(Clone)]
pub(crate) struct AdamW {
    composed: burn::optim::AdamW,
    beta_1: f32,
    beta_2: f32,
    eps: f32,
    weight_decay: f32,
}

impl AdamW {
    pub(crate) fn new(config: &OptimizerConfig, weight_decay: f64) -> Self {
        let (beta_1, beta_2) = (config.betas.0 as f32, config.betas.1 as f32);
        let (eps, weight_decay) = (config.eps as f32, weight_decay as f32);
        let composed = AdamWConfig::new()
            .with_beta_1(beta_1)
            .with_beta_2(beta_2)
            .with_epsilon(eps)
            .with_weight_decay(weight_decay)
            .build();
        Self { composed, beta_1, beta_2, eps, weight_decay }
    }
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        mut tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        // burn makes the state at the first step.
        if let Some(mut state) = state {
            let Self { beta_1, beta_2, eps, weight_decay, .. } = *self;
            let step = AdamWStep { lr, beta_1, beta_2, eps, weight_decay, time: state.momentum.time + 1 };
            let moments = [&mut state.momentum.moment_1, &mut state.momentum.moment_2];
            if adamw(&mut tensor, gradient.clone(), moments, step).is_some() {
                state.momentum.time += 1;
                return (tensor, Some(state));
            }
            return self.composed.step(lr, tensor, gradient, Some(state));
        }
        self.composed.step(lr, tensor, gradient, None)
    }

    fn to_device<const D: usize>(state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        burn::optim::AdamW::to_device(state, device)
    }
}
