//! Linear maps on flex: those of few rows on slices, those of none by themselves, the others by burn.

use burn::backend::Flex;
use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::backend::{Element, TensorMetadata};
use burn::tensor::{DType, Shape, TensorData};
use half::{bf16, f16};

use super::few_rows::{Order, Stored, product};
use super::no_rows::weight_gradient;
use super::ops::LinearMapOps;
use crate::flex::tensor::FlexTensor;
use crate::fused;

/// Above it the tiled products of burn are faster.
pub(crate) const FEW: usize = 8;

impl LinearMapOps for Flex {
    fn linear_map(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
        match no_rows(&x, &weight, 1).or_else(|| few_rows(&x, &weight, None)) {
            Some(product) => product,
            None => Self::linear(x, weight, None),
        }
    }

    fn biased_map(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        match no_rows(&x, &weight, 1).or_else(|| few_rows(&x, &weight, Some(&bias))) {
            Some(product) => product,
            None => Self::linear(x, weight, Some(bias)),
        }
    }

    fn map_x_backward(weight: FlexTensor, upstream: FlexTensor) -> FlexTensor {
        no_rows(&upstream, &weight, 0).unwrap_or_else(|| Self::linear_x_backward(weight, upstream))
    }

    fn map_weight_backward(x: FlexTensor, upstream: FlexTensor) -> FlexTensor {
        weight_gradient::<Self>(&x, &upstream).unwrap_or_else(|| Self::linear_weight_backward(x, upstream))
    }
}

/// What a map of no rows gives, with the width of the weight's dimension `to`: burn's product of none reads where nothing is.
fn no_rows(x: &FlexTensor, weight: &FlexTensor, to: usize) -> Option<FlexTensor> {
    let mut shape = x.shape();
    if shape.num_elements() > 0 {
        return None;
    }
    let last = shape.rank() - 1;
    shape[last] = weight.shape()[to];
    Some(Flex::float_zeros(shape, &Default::default(), x.dtype().into()))
}

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
