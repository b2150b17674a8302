//! The gradient of the GELU, registered by hand.

use core::fmt::{Debug, Formatter};
use core::marker::PhantomData;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::{
    base::Checkpointer, retro_forward::RetroForward, strategy::CheckpointStrategy,
};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

use super::GeluKind;
use super::ops::GeluOps;

/// Parent and state: x, which the checkpointer keeps or computes again, and the kind.
#[derive(Debug)]
struct Gelu;

impl<B: Backend + GeluOps> Backward<B, 1> for Gelu {
    type State = (NodeId, GeluKind);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let (x, kind) = ops.state;
        let x = checkpointer.retrieve_node_output(x);
        unary::<B, _>(ops.parents, ops.node, grads, |upstream| B::fused_gelu_backward(x, upstream, kind));
    }
}

/// Computes the output again from x, for operations after this one under gradient checkpointing.
struct Again<B> {
    x: NodeId,
    kind: GeluKind,
    backend: PhantomData<B>,
}

impl<B> Debug for Again<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> core::fmt::Result {
        write!(f, "GELU of {:?}", self.x)
    }
}

impl<B: Backend + GeluOps> RetroForward for Again<B> {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let x = states.get_state::<FloatTensor<B>>(&self.x);
        states.save(out_node, B::fused_gelu(x, self.kind));
    }
}

impl<B: Backend + GeluOps, C: CheckpointStrategy> GeluOps for Autodiff<B, C> {
    fn fused_gelu(x: FloatTensor<Self>, kind: GeluKind) -> FloatTensor<Self> {
        let again = Again::<B> { x: x.id(), kind, backend: PhantomData };
        let prep = Gelu.prepare::<C>([x.node()]).memory_bound().retro_forward(again).parents([&x]);
        match prep.stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = prep.checkpoint(&x);
                prep.finish((state, kind), B::fused_gelu(x.into_primitive(), kind))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::fused_gelu(x.into_primitive(), kind)),
        }
    }
}
