//! The gradient of attention from a projection, registered by hand.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend};

use super::QkvOrder;
use super::ops::ProjectionOps;
use crate::KeyRanges;

/// Parent: the projection.
#[derive(Debug)]
struct Projection;

#[derive(Debug, Clone)]
struct State<T> {
    /// The projection, which the checkpointer keeps or computes again.
    qkv: NodeId,
    angles: [T; 2],
    out: T,
    sums: T,
    order: QkvOrder,
    ranges: KeyRanges,
    scale: f64,
}

impl<B: Backend + ProjectionOps> Backward<B, 1> for Projection {
    type State = State<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let State { qkv, angles: [cos, sin], out, sums, order, ranges, scale } = ops.state;
        let qkv = checkpointer.retrieve_node_output(qkv);
        unary::<B, _>(ops.parents, ops.node, grads, |upstream| {
            B::fused_projection_backward(qkv, cos, sin, out, sums, upstream, order, ranges, scale)
        });
    }
}

impl<B: Backend + ProjectionOps, C: CheckpointStrategy> ProjectionOps for Autodiff<B, C> {
    fn fused_projection(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
        order: QkvOrder,
        ranges: KeyRanges,
        scale: f64,
    ) -> FloatTensor<Self> {
        let [cos, sin] = [cos, sin].map(|angle| angle.into_primitive());
        // Compute bound: a checkpointing strategy must not run it a second time.
        match Projection.prepare::<C>([qkv.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = prep.checkpoint(&qkv);
                let (qkv, angles) = (qkv.into_primitive(), [cos.clone(), sin.clone()]);
                let (out, sums) = B::fused_projection_with_sums(qkv, cos, sin, heads, order, ranges.clone(), scale);
                let state = State { qkv: state, angles, out: out.clone(), sums, order, ranges, scale };
                prep.finish(state, out)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::fused_projection(qkv.into_primitive(), cos, sin, heads, order, ranges, scale))
            }
        }
    }

    fn fused_projection_with_sums(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
        order: QkvOrder,
        ranges: KeyRanges,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        // A part of the above, never on a tape of its own.
        let [cos, sin] = [cos, sin].map(|angle| angle.into_primitive());
        let (out, sums) = B::fused_projection_with_sums(qkv.into_primitive(), cos, sin, heads, order, ranges, scale);
        (Self::from_inner(out), Self::from_inner(sums))
    }

    fn fused_projection_backward(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        out: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        order: QkvOrder,
        ranges: KeyRanges,
        scale: f64,
    ) -> FloatTensor<Self> {
        let [cos, sin] = [cos, sin].map(|angle| angle.into_primitive());
        let [qkv, out, sums, upstream] = [qkv, out, sums, upstream].map(|tensor| tensor.into_primitive());
        Self::from_inner(B::fused_projection_backward(qkv, cos, sin, out, sums, upstream, order, ranges, scale))
    }
}
