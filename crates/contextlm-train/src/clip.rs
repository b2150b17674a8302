use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use contextlm_kernels::{l2_norm, listed, scale};

/// Scales all gradients together so that their global L2 norm is at most `max_norm`, as
/// `torch.nn.utils.clip_grad_norm_` does, and returns the norm before. A `max_norm` of 0 only measures.
pub fn clip_grad_norm<M: Module>(model: &M, gradients: &mut GradientsParams, max_norm: f64) -> f64 {
    GradNorm::of(model, gradients).clip(model, gradients, max_norm)
}

/// The global norm on its way: a device that works on its own may still be at it.
pub(crate) struct GradNorm {
    /// The sum of the squares, `[1]`; `None` without gradients.
    square: Option<Tensor<1>>,
    /// Gradients that are better measured and scaled as a list. They are out of the others until [`clip`](Self::clip).
    list: Vec<Tensor<1>>,
    /// Whose they are.
    ids: Vec<ParamId>,
}

impl GradNorm {
    /// Has the norm computed: the L2 norm of all gradients as one vector. The squares are added on the device.
    pub(crate) fn of<M: Module>(model: &M, gradients: &mut GradientsParams) -> Self {
        Self::with(model, gradients, |_| false)
    }

    /// The same, with more parameters whose gradients go into the list: where it is not the faster way, for tests.
    fn with<M: Module>(model: &M, gradients: &mut GradientsParams, also: impl Fn(ParamId) -> bool) -> Self {
        let mut squares = Squares { gradients, also, sums: Vec::new(), list: Vec::new(), ids: Vec::new() };
        model.visit(&mut squares);
        let Squares { mut sums, list, ids, .. } = squares;
        sums.extend(l2_norm(&list).map(|norm| norm.square()));
        let square = (!sums.is_empty()).then(|| Tensor::cat(sums, 0).sum());
        Self { square, list, ids }
    }

    /// Waits for the norm, clips as [`clip_grad_norm`] and returns it.
    pub(crate) fn clip<M: Module>(self, model: &M, gradients: &mut GradientsParams, max_norm: f64) -> f64 {
        let Self { square, mut list, ids } = self;
        let norm = square.map_or(0.0, |square| square.into_scalar::<f64>().sqrt());
        let factor = max_norm / (norm + 1e-6);
        if max_norm > 0.0 && factor < 1.0 {
            list = scale(list, factor);
            model.visit(&mut Scale { gradients, factor });
        }
        if !list.is_empty() {
            model.visit(&mut PutBack { gradients, list: ids.into_iter().zip(list).collect() });
        }
        norm
    }
}

struct Squares<'a, F> {
    gradients: &'a mut GradientsParams,
    also: F,
    sums: Vec<Tensor<1>>,
    list: Vec<Tensor<1>>,
    ids: Vec<ParamId>,
}

impl<F: Fn(ParamId) -> bool> ModuleVisitor for Squares<'_, F> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        if listed(&gradient) || (self.also)(param.id) {
            self.gradients.remove::<D>(param.id);
            self.list.push(gradient.flatten(0, D - 1));
            self.ids.push(param.id);
        } else {
            self.sums.push(gradient.square().sum());
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient.mul_scalar(self.factor));
        }
    }
}

struct PutBack<'a> {
    gradients: &'a mut GradientsParams,
    list: HashMap<ParamId, Tensor<1>>,
}

impl ModuleVisitor for PutBack<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.list.remove(&param.id) {
            self.gradients.register::<D>(param.id, gradient.reshape(param.lazy_shape()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};

    #[test]
    fn all_gradients_are_scaled_by_one_factor() {
        let device = contextlm_device::device("cpu").unwrap().autodiff();
        let _guard = crate::random::random_numbers();
        let model: Linear = LinearConfig::new(3, 2).init(&device);
        let gradients = || {
            let x = Tensor::<2>::from_floats([[3.0, 0.0, 4.0]], &device);
            GradientsParams::from_grads(model.forward(x).sum().backward(), &model)
        };
        // Weight: 3, 0, 4 in both columns; bias: 1, 1. Squares: 25 + 25 + 2.
        let norm = 52.0_f64.sqrt();
        let bias = |gradients: &GradientsParams| {
            let id = model.bias.as_ref().unwrap().id;
            gradients.get::<1>(id).unwrap().into_data().try_to_vec::<f32>().unwrap()[0]
        };

        let mut clipped = gradients();
        assert!((clip_grad_norm(&model, &mut clipped, 1.0) - norm).abs() < 1e-5);
        assert!((f64::from(bias(&clipped)) - 1.0 / norm).abs() < 1e-5);
        assert!((clip_grad_norm(&model, &mut clipped, 0.0) - 1.0).abs() < 1e-5);

        for max_norm in [0.0, 100.0] {
            let mut whole = gradients();
            clip_grad_norm(&model, &mut whole, max_norm);
            assert_eq!(bias(&whole), 1.0);
        }
    }

    #[test]
    fn in_a_list_they_are_clipped_too() {
        let device = contextlm_device::device("cpu").unwrap().autodiff();
        let _guard = crate::random::random_numbers();
        let model: Linear = LinearConfig::new(3, 2).init(&device);
        let (weight, bias) = (model.weight.id, model.bias.as_ref().unwrap().id);
        let clipped = |max_norm: f64, also: &dyn Fn(ParamId) -> bool| {
            let x = Tensor::<2>::from_floats([[3.0, -1.0, 4.0]], &device);
            let loss = model.forward(x).square().sum();
            let mut gradients = GradientsParams::from_grads(loss.backward(), &model);
            let norm = GradNorm::with(&model, &mut gradients, also).clip(&model, &mut gradients, max_norm);
            let weight = gradients.get::<2>(weight).unwrap().into_data();
            (norm, weight, gradients.get::<1>(bias).unwrap().into_data())
        };
        for max_norm in [0.0, 0.5, 1e9] {
            let (norm, weights, biases) = clipped(max_norm, &|_| false);
            for also in [&|_| true, &|id| id == weight, &|id| id == bias] as [&dyn Fn(ParamId) -> bool; 3] {
                let found = clipped(max_norm, also);
                assert!((found.0 - norm).abs() <= 1e-6 * norm, "{max_norm}: {} and {norm}", found.0);
                let near = burn::tensor::Tolerance::<f32>::relative(1e-6);
                found.1.assert_approx_eq(&weights, near);
                found.2.assert_approx_eq(&biases, near);
            }
        }
    }
}
