//! A projection whose queries and keys are turned where they are, on LibTorch: [`attention`](crate::attention()) of it then has
//! no angles, and the gradient of the projection is that of attention turned back.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, backend_extension};

use super::QkvOrder;

/// Shapes as in [`attention_of_projection`](super::attention_of_projection); `back` turns the other way.
#[backend_extension(LibTorch: cfg(feature = "libtorch"), Autodiff)]
pub(crate) trait TurnedProjectionOps: Backend {
    /// qkv with its queries and keys turned, in its memory where nobody else holds it.
    fn turned_projection(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
        order: QkvOrder,
        back: bool,
    ) -> FloatTensor<Self>;
}

/// Parent: the projection. State: cos and sin, heads, order, and which way.
#[derive(Debug)]
struct Turned;

impl<B: Backend + TurnedProjectionOps> Backward<B, 1> for Turned {
    type State = (FloatTensor<B>, FloatTensor<B>, usize, QkvOrder, bool);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let (cos, sin, heads, order, back) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |upstream| {
            B::turned_projection(upstream, cos, sin, heads, order, !back)
        });
    }
}

impl<B: Backend + TurnedProjectionOps, C: CheckpointStrategy> TurnedProjectionOps for Autodiff<B, C> {
    fn turned_projection(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
        order: QkvOrder,
        back: bool,
    ) -> FloatTensor<Self> {
        let (qkv, node) = qkv.into_parts();
        let [cos, sin] = [cos, sin].map(|angle| angle.into_primitive());
        let out = B::turned_projection(qkv, cos.clone(), sin.clone(), heads, order, back);
        match Turned.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((cos, sin, heads, order, back), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }
}
