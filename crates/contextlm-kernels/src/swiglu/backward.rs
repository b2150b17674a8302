//! The gradients of SwiGLU, registered by hand.

use core::fmt::{Debug, Formatter};
use core::marker::PhantomData;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::{
    base::Checkpointer, retro_forward::RetroForward, strategy::CheckpointStrategy,
};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

use super::ops::SwiGluOps;

/// Parents and state: gate and up, which the checkpointer keeps or computes again.
#[derive(Debug)]
struct SwiGlu;

impl<B: Backend + SwiGluOps> Backward<B, 2> for SwiGlu {
    type State = [NodeId; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [gate, up] = ops.state.map(|node| checkpointer.retrieve_node_output(node));
        let upstream = grads.consume::<B>(&ops.node);
        let (for_gate, for_up) = B::fused_swiglu_backward(gate, up, upstream);
        for (parent, gradient) in ops.parents.into_iter().zip([for_gate, for_up]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// Computes the output again, for operations after this one under gradient checkpointing.
struct Again<B> {
    gate: NodeId,
    up: NodeId,
    backend: PhantomData<B>,
}

impl<B> Debug for Again<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> core::fmt::Result {
        write!(f, "SwiGLU of {:?} and {:?}", self.gate, self.up)
    }
}

impl<B: Backend + SwiGluOps> RetroForward for Again<B> {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let gate = states.get_state::<FloatTensor<B>>(&self.gate);
        let up = states.get_state::<FloatTensor<B>>(&self.up);
        states.save(out_node, B::fused_swiglu(gate, up));
    }
}

impl<B: Backend + SwiGluOps, C: CheckpointStrategy> SwiGluOps for Autodiff<B, C> {
    fn fused_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let again = Again::<B> { gate: gate.id(), up: up.id(), backend: PhantomData };
        let prep =
            SwiGlu.prepare::<C>([gate.node(), up.node()]).memory_bound().retro_forward(again).parents([&gate, &up]);
        match prep.stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [prep.checkpoint(&gate), prep.checkpoint(&up)];
                prep.finish(state, B::fused_swiglu(gate.into_primitive(), up.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::fused_swiglu(gate.into_primitive(), up.into_primitive())),
        }
    }
}
