use burn::nn::Linear;
use burn::tensor::Device;

use crate::Init;

/// A linear map `x W + b` with W [inputs, outputs] drawn from normal(0, `std`) and b, if wanted, zero.
pub fn linear(init: &Init, inputs: usize, outputs: usize, bias: bool, std: f64, device: &Device) -> Linear {
    Linear {
        weight: init.normal("weight", [inputs, outputs], std, device),
        bias: bias.then(|| init.constant([outputs], 0.0, device)),
    }
}
