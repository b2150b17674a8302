use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use contextlm_kernels::{l2_norm, listed, scale};

/// Scales all gradients together so that their global L2 norm is at most `max_norm`, as
/// `torch.nn.utils.clip_grad_norm_` does, and returns the norm before. A `max_norm` of 0 only measures.
pub fn clip_grad_norm<M: Module>(model: &M, gradients: &mut GradientsParams, max_norm: f64) -> f64 {
    let norm = global_norm(model, gradients);
    let factor = max_norm / (norm + 1e-6);
    if max_norm > 0.0 && factor < 1.0 {
        let mut scaling = Scale { gradients, factor, ids: Vec::new(), list: Vec::new() };
        model.visit(&mut scaling);
        let Scale { ids, list, .. } = scaling;
        let scaled = ids.into_iter().zip(scale(list, factor)).collect();
        model.visit(&mut PutBack { gradients, scaled });
    }
    norm
}

/// The L2 norm of all gradients as one vector. The squares are added on the device and read once.
fn global_norm<M: Module>(model: &M, gradients: &GradientsParams) -> f64 {
    let mut squares = Squares { gradients, sums: Vec::new(), list: Vec::new() };
    model.visit(&mut squares);
    let Squares { mut sums, list, .. } = squares;
    sums.extend(l2_norm(&list).map(|norm| norm.square()));
    if sums.is_empty() {
        return 0.0;
    }
    Tensor::cat(sums, 0).sum().into_scalar::<f64>().sqrt()
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sums: Vec<Tensor<1>>,
    /// Gradients whose squares are better added together.
    list: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        match self.gradients.get::<D>(param.id) {
            Some(gradient) if listed(&gradient) => self.list.push(gradient.flatten(0, D - 1)),
            Some(gradient) => self.sums.push(gradient.square().sum()),
            None => (),
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
    /// Gradients that are better scaled together, and whose they are.
    list: Vec<Tensor<1>>,
    ids: Vec<ParamId>,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        match self.gradients.remove::<D>(param.id) {
            Some(gradient) if listed(&gradient) => {
                self.list.push(gradient.flatten(0, D - 1));
                self.ids.push(param.id);
            }
            Some(gradient) => self.gradients.register(param.id, gradient.mul_scalar(self.factor)),
            None => (),
        }
    }
}

struct PutBack<'a> {
    gradients: &'a mut GradientsParams,
    scaled: HashMap<ParamId, Tensor<1>>,
}

impl ModuleVisitor for PutBack<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.scaled.remove(&param.id) {
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
}
