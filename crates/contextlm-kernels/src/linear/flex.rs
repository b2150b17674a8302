//! From flex's tensors to slices and back.

use burn::backend::Flex;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Element, TensorMetadata};
use burn::tensor::{DType, Shape, TensorData};
use half::{bf16, f16};

use super::few_rows::{Order, Stored, product};
use crate::flex::tensor::FlexTensor;
use crate::fused;

/// Above it the tiled products of burn are faster.
pub(crate) const FEW: usize = 8;

/// x W + b if the switch is on, there are few rows and the weight lies in one of the two orders.
pub(super) fn few_rows(x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>) -> Option<FlexTensor> {
    if !fused() {
        return None;
    }
    match weight.dtype() {
        DType::F32 => few_rows_of::<f32>(x, weight, bias),
        DType::BF16 => few_rows_of::<bf16>(x, weight, bias),
        DType::F16 => few_rows_of::<f16>(x, weight, bias),
        _ => None,
    }
}

fn few_rows_of<E: Stored + Element + bytemuck::Pod>(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
) -> Option<FlexTensor> {
    let [inputs, outputs] = weight.shape().dims();
    let mut shape = x.shape();
    let rows = shape.num_elements() / inputs.max(1);
    if !(1..=FEW).contains(&rows) || inputs == 0 || outputs == 0 || x.dtype() != weight.dtype() {
        return None;
    }
    let order = match *weight.layout().strides() {
        [stride, 1] if stride >= outputs as isize => Order::Inputs(stride as usize),
        [1, stride] if stride >= inputs as isize => Order::Outputs(stride as usize),
        _ => return None,
    };
    let x = x.to_contiguous();
    let mut room = Vec::new();
    let x = E::widen(x.as_slice::<E>()?, &mut room);
    let weight = &weight.storage::<E>()[weight.layout().start_offset()..];
    let out = product(x, weight, order, rows, outputs);
    let last = shape.rank() - 1;
    shape[last] = outputs;
    let out = Flex::float_from_data(TensorData::new(out, shape.clone()).convert::<E>(), &Default::default());
    let Some(bias) = bias else { return Some(out) };
    // Rounded before the bias and after it, as burn does for many rows.
    let mut beside = Shape::from(vec![1; last + 1]);
    beside[last] = outputs;
    Some(Flex::float_add(out, Flex::float_reshape(bias.clone(), beside)))
}
