//! Maps of no rows, whose products burn gets wrong: on flex it reads where nothing is, on GPUs it writes nothing.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

/// The gradient of the weight where there is nothing to add up, zeros [inputs, outputs]; none where there is something.
pub(super) fn weight_gradient<B: Backend>(x: &FloatTensor<B>, upstream: &FloatTensor<B>) -> Option<FloatTensor<B>> {
    let (of_x, of_upstream) = (x.shape(), upstream.shape());
    if of_x.num_elements() > 0 && of_upstream.num_elements() > 0 {
        return None;
    }
    let [inputs, outputs] = [of_x, of_upstream].map(|shape| shape[shape.num_dims() - 1]);
    Some(B::float_zeros(Shape::new([inputs, outputs]), &x.device(), x.dtype().into()))
}
