use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{FloatDType, Tensor};

use crate::{Backbone, ContextLm};

impl<B: Backbone> ContextLm<B> {
    /// The same model with its matrices in another type, in which it then multiplies them. The states that blocks add to,
    /// norms, softmax, rotary angles, pooling and the loss stay f32, and vectors (norms, biases) keep their type.
    ///
    /// Of a model that is trained, the copy's gradients are those of this model's own parameters, in their type: that is
    /// mixed precision. Make a new copy after every step.
    ///
    /// ```
    /// # use contextlm_core::{ContextLmConfig, FloatDType, Int, Tensor};
    /// # fn main() -> Result<(), contextlm_core::ContextLmError> {
    /// # let device = contextlm_device::device("cpu").unwrap().autodiff();
    /// let model = ContextLmConfig::preset("pythia-14m")?.with_default_context().init(&device)?;
    /// let tokens = Tensor::<2, Int>::from_ints([[12092, 13, 1533]], &device);
    /// let targets = Tensor::<2, Int>::from_ints([[13, 1533, 2]], &device);
    /// let gradients = model.cast(FloatDType::BF16).loss(tokens, targets).backward();
    /// let initial = model.context.as_ref().and_then(|path| path.embedding.initial.as_ref());
    /// assert!(initial.is_some_and(|initial| initial.grad(&gradients).is_some()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn cast(&self, dtype: FloatDType) -> Self {
        self.clone().map(&mut Cast(dtype))
    }
}

struct Cast(FloatDType);

impl ModuleMapper for Cast {
    fn map_float<const R: usize>(&mut self, param: Param<Tensor<R>>) -> Param<Tensor<R>> {
        let value = param.val();
        if R < 2 || FloatDType::from(value.dtype()) == self.0 {
            return param;
        }
        // An operation of the graph, so no parameter of its own: gradients go on to the one that it was made from.
        Param::initialized(param.id, value.cast(self.0))
    }
}
