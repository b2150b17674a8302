//! The gradient of the rotation, registered by hand: it is turned back.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

use super::ops::RotaryOps;

/// Parent: x. State: cos and sin, and which way.
#[derive(Debug)]
struct Rotary;

impl<B: Backend + RotaryOps> Backward<B, 1> for Rotary {
    type State = (FloatTensor<B>, FloatTensor<B>, bool);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let (cos, sin, back) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |upstream| B::fused_rotary(upstream, cos, sin, !back));
    }
}

impl<B: Backend + RotaryOps, C: CheckpointStrategy> RotaryOps for Autodiff<B, C> {
    fn fused_rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        back: bool,
    ) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let (cos, sin) = (cos.into_primitive(), sin.into_primitive());
        let out = B::fused_rotary(x, cos.clone(), sin.clone(), back);
        match Rotary.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((cos, sin, back), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }
}
