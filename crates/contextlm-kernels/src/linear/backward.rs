//! The gradients of linear maps, registered by hand: those of burn's `linear`, by the products of the backend.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

use super::ops::LinearMapOps;

/// Parents: x, weight, and bias if there is one. State: x if the weight's gradient is wanted, and weight if that of x is; the
/// checkpointer keeps them or computes them again.
#[derive(Debug)]
struct LinearMap<const PARENTS: usize>;

impl<B: Backend + LinearMapOps, const PARENTS: usize> Backward<B, PARENTS> for LinearMap<PARENTS> {
    type State = [Option<NodeId>; 2];

    fn backward(self, ops: Ops<Self::State, PARENTS>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [x, weight] = ops.state.map(|node| node.map(|node| checkpointer.retrieve_node_output(node)));
        let upstream = grads.consume::<B>(&ops.node);
        let parent = |at: usize| ops.parents.get(at).and_then(Option::as_ref).map(|parent| parent.id);
        if let (Some(id), Some(weight)) = (parent(0), weight) {
            grads.register::<B>(id, B::input_gradient(weight, upstream.clone()));
        }
        if let (Some(id), Some(x)) = (parent(1), x) {
            grads.register::<B>(id, B::weight_gradient(x, upstream.clone()));
        }
        if let Some(id) = parent(2) {
            grads.register::<B>(id, B::bias_gradient(upstream));
        }
    }
}

impl<B: Backend + LinearMapOps, C: CheckpointStrategy> LinearMapOps for Autodiff<B, C> {
    fn linear_map(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let (of_weight, of_x) = (weight.is_tracked(), x.is_tracked());
        // Compute bound: a checkpointing strategy must not run it a second time.
        match LinearMap::<2>.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [of_weight.then(|| prep.checkpoint(&x)), of_x.then(|| prep.checkpoint(&weight))];
                prep.finish(state, B::map_to_train(x.into_primitive(), weight.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::linear_map(x.into_primitive(), weight.into_primitive())),
        }
    }

    fn biased_map(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let (of_weight, of_x) = (weight.is_tracked(), x.is_tracked());
        match LinearMap::<3>.prepare::<C>([x.node(), weight.node(), bias.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [of_weight.then(|| prep.checkpoint(&x)), of_x.then(|| prep.checkpoint(&weight))];
                let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
                prep.finish(state, B::biased_map_to_train(x, weight, bias))
            }
            OpsKind::UnTracked(prep) => {
                let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
                prep.finish(B::biased_map(x, weight, bias))
            }
        }
    }
}
