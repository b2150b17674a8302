use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use contextlm_kernels::{on_flex, quantize_int8};

use crate::{Backbone, ContextLm, ContextLmError};

impl<B: Backbone> ContextLm<B> {
    /// The same model for generation on the CPU with weights of 8 bits: those of attention and MLP in every block, and the
    /// LM head, which stays f32 as an embedding. A token then reads a byte for each of them, and states, norms, the context
    /// path's fusion and all sums stay f32. See [`quantize_int8`] for how they are rounded.
    ///
    /// It is for reading only: it cannot be trained or saved.
    ///
    /// # Errors
    /// [`ContextLmError::Quantize`] for a model that is not on the CPU backend without autodiff, that is not in f32, or that
    /// is quantized already.
    pub fn quantize_int8(&self) -> Result<Self, ContextLmError> {
        let refused = |reason: &str| ContextLmError::Quantize { reason: reason.into() };
        let head = self.backbone.head();
        if head.device().is_autodiff() || !on_flex(&head) {
            return Err(refused("it is for generation on the device cpu"));
        }
        if self.int8_head.is_some() {
            return Err(refused("the model has weights of 8 bits already"));
        }
        let int8_head =
            quantize_int8(head).ok_or_else(|| refused("the model must be f32, and its width a multiple of 16"))?;
        let mut model = self.clone().map(&mut Quantize::default());
        model.int8_head = Some(int8_head);
        Ok(model)
    }
}

/// Quantizes the maps inside attention and MLP, wherever they are.
#[derive(Default)]
struct Quantize {
    containers: Vec<String>,
}

impl ModuleMapper for Quantize {
    fn enter_module(&mut self, _name: &str, container_type: &str) {
        self.containers.push(container_type.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.containers.pop();
    }

    fn map_float<const R: usize>(&mut self, param: Param<Tensor<R>>) -> Param<Tensor<R>> {
        let inside = |name: &str| self.containers.iter().any(|container| container == name);
        let maps = inside("Struct:Linear") && (inside("Struct:Attention") || inside("Struct:Mlp"));
        if R != 2 || !maps {
            return param;
        }
        // From burn's [inputs, outputs] to the order of memory in which an output's weights are side by side.
        match quantize_int8(param.val().swap_dims(0, 1)) {
            Some(weight) => Param::initialized(param.id, weight),
            None => param,
        }
    }
}
