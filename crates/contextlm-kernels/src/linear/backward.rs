//! The gradients of linear maps, registered by hand so that a backend may have its own products for them.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};
use burn::tensor::FloatDType;

use super::ops::LinearMapOps;

/// Parents: x and weight. State: each where the other's gradient is wanted.
#[derive(Debug)]
struct Map;

/// Parents: x, weight and bias. State: as above, and the type of the bias.
#[derive(Debug)]
struct BiasedMap;

type State = [Option<NodeId>; 2];

/// Of x and weight.
fn register<B: Backend + LinearMapOps>(
    [x, weight]: State,
    [of_x, of_weight]: [Option<NodeId>; 2],
    upstream: &FloatTensor<B>,
    grads: &mut Gradients,
    checkpointer: &mut Checkpointer,
) {
    if let (Some(node), Some(weight)) = (of_x, weight) {
        let weight = checkpointer.retrieve_node_output(weight);
        grads.register::<B>(node, B::map_x_backward(weight, upstream.clone()));
    }
    if let (Some(node), Some(x)) = (of_weight, x) {
        let x = checkpointer.retrieve_node_output(x);
        grads.register::<B>(node, B::map_weight_backward(x, upstream.clone()));
    }
}

impl<B: Backend + LinearMapOps> Backward<B, 2> for Map {
    type State = State;

    fn backward(self, ops: Ops<State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let upstream = grads.consume::<B>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|parent| parent.id));
        register::<B>(ops.state, parents, &upstream, grads, checkpointer);
    }
}

impl<B: Backend + LinearMapOps> Backward<B, 3> for BiasedMap {
    type State = (State, FloatDType);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let upstream = grads.consume::<B>(&ops.node);
        let [of_x, of_weight, of_bias] = ops.parents.map(|parent| parent.map(|parent| parent.id));
        let (state, dtype) = ops.state;
        register::<B>(state, [of_x, of_weight], &upstream, grads, checkpointer);
        if let Some(node) = of_bias {
            grads.register::<B>(node, B::map_bias_backward(upstream, dtype));
        }
    }
}

impl<B: Backend + LinearMapOps, C: CheckpointStrategy> LinearMapOps for Autodiff<B, C> {
    fn linear_map(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x_tracked, weight_tracked) = (x.is_tracked(), weight.is_tracked());
        let map = |x: FloatTensor<Self>, weight: FloatTensor<Self>| {
            B::linear_map(x.into_primitive(), weight.into_primitive())
        };
        match Map.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [weight_tracked.then(|| prep.checkpoint(&x)), x_tracked.then(|| prep.checkpoint(&weight))];
                prep.finish(state, map(x, weight))
            }
            OpsKind::UnTracked(prep) => prep.finish(map(x, weight)),
        }
    }

    fn biased_map(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x_tracked, weight_tracked) = (x.is_tracked(), weight.is_tracked());
        let map = |x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>| {
            B::biased_map(x.into_primitive(), weight.into_primitive(), bias.into_primitive())
        };
        match BiasedMap.prepare::<C>([x.node(), weight.node(), bias.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [weight_tracked.then(|| prep.checkpoint(&x)), x_tracked.then(|| prep.checkpoint(&weight))];
                prep.finish((state, bias.dtype().into()), map(x, weight, bias))
            }
            OpsKind::UnTracked(prep) => prep.finish(map(x, weight, bias)),
        }
    }
}
