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

use super::ops::ExactGeluOps;

/// Parent and state: x, which the checkpointer keeps or computes again.
#[derive(Debug)]
struct ExactGelu;

impl<B: Backend + ExactGeluOps> Backward<B, 1> for ExactGelu {
    type State = NodeId;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let x = checkpointer.retrieve_node_output(ops.state);
        unary::<B, _>(ops.parents, ops.node, grads, |upstream| B::exact_gelu_gradient(x, upstream));
    }
}

/// Computes the output again from x, for operations after this one under gradient checkpointing.
struct Again<B> {
    x: NodeId,
    backend: PhantomData<B>,
}

impl<B> Debug for Again<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> core::fmt::Result {
        write!(f, "gelu of {:?}", self.x)
    }
}

impl<B: Backend + ExactGeluOps> RetroForward for Again<B> {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let x = states.get_state::<FloatTensor<B>>(&self.x);
        states.save(out_node, B::exact_gelu(x));
    }
}

impl<B: Backend + ExactGeluOps, C: CheckpointStrategy> ExactGeluOps for Autodiff<B, C> {
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let again = Again::<B> { x: x.id(), backend: PhantomData };
        let prep = ExactGelu.prepare::<C>([x.node()]).memory_bound().retro_forward(again).parents([&x]);
        match prep.stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = prep.checkpoint(&x);
                prep.finish(state, B::exact_gelu(x.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::exact_gelu(x.into_primitive())),
        }
    }
}
