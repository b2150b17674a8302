//! From flex's tensors to slices and back.

use burn::backend::Flex;
use burn::backend::TensorMetadata;
use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::backend::tensor::QuantizedTensor;

use super::groups::{Weights, product, widened};
use crate::flex::tensor::{FlexTensor, contiguous, tensor, values};
use crate::linear::FEW;

pub(super) fn int8_map(x: FlexTensor, weight: &QuantizedTensor<Flex>) -> FlexTensor {
    let [outputs, inputs] = weight.shape().dims();
    let integers = weight.tensor().to_contiguous();
    let weights = Weights { values: integers.as_slice::<i8>().unwrap_or_default(), scales: weight.scales(), inputs };
    let mut shape = x.shape();
    let rows = shape.num_elements() / inputs.max(1);
    if (1..=FEW).contains(&rows) {
        let x = contiguous(x);
        let last = shape.rank() - 1;
        shape[last] = outputs;
        return tensor(product(values(&x), weights, rows), shape);
    }
    let weight = Flex::float_swap_dims(tensor(widened(weights), weight.shape()), 0, 1);
    Flex::linear(x, weight, None)
}
