//! The gradient of masked attention, registered by hand.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend};

use super::projection::Split;
use super::{MaskedAttentionOps, Scoring};

/// Parents: q, k, v.
#[derive(Debug)]
struct MaskedAttention;

#[derive(Debug, Clone)]
struct State<T> {
    /// q, k, v, which the checkpointer keeps or computes again.
    inputs: [NodeId; 3],
    bias: T,
    out: T,
    sums: T,
    scoring: Scoring,
}

impl<B: Backend + MaskedAttentionOps> Backward<B, 3> for MaskedAttention {
    type State = State<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let State { inputs, bias, out, sums, scoring } = ops.state;
        let [q, k, v] = inputs.map(|node| checkpointer.retrieve_node_output(node));
        let upstream = grads.consume::<B>(&ops.node);
        let (for_q, for_k, for_v) = B::masked_attention_backward(q, k, v, bias, out, sums, upstream, scoring);
        for (parent, gradient) in ops.parents.into_iter().zip([for_q, for_k, for_v]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// Parent: the projection.
#[derive(Debug)]
struct MaskedProjection;

#[derive(Debug, Clone)]
struct ProjectionState<T> {
    qkv: NodeId,
    angles: [T; 2],
    bias: T,
    out: T,
    sums: T,
    split: Split,
    scoring: Scoring,
}

impl<B: Backend + MaskedAttentionOps> Backward<B, 1> for MaskedProjection {
    type State = ProjectionState<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let ProjectionState { qkv, angles: [cos, sin], bias, out, sums, split, scoring } = ops.state;
        let qkv = checkpointer.retrieve_node_output(qkv);
        unary::<B, _>(ops.parents, ops.node, grads, |upstream| {
            B::masked_projection_backward(qkv, cos, sin, bias, out, sums, upstream, split, scoring)
        });
    }
}

impl<B: Backend + MaskedAttentionOps, C: CheckpointStrategy> MaskedAttentionOps for Autodiff<B, C> {
    fn masked_projection(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        split: Split,
        scoring: Scoring,
    ) -> FloatTensor<Self> {
        let [cos, sin, bias] = [cos, sin, bias].map(|tensor| tensor.into_primitive());
        // As below.
        match MaskedProjection.prepare::<C>([qkv.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let node = prep.checkpoint(&qkv);
                let (qkv, angles) = (qkv.into_primitive(), [cos.clone(), sin.clone()]);
                let (out, sums) = B::masked_projection_with_sums(qkv, cos, sin, bias.clone(), split, scoring);
                prep.finish(ProjectionState { qkv: node, angles, bias, out: out.clone(), sums, split, scoring }, out)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::masked_projection(qkv.into_primitive(), cos, sin, bias, split, scoring))
            }
        }
    }

    fn masked_projection_with_sums(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        split: Split,
        scoring: Scoring,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [qkv, cos, sin, bias] = [qkv, cos, sin, bias].map(|tensor| tensor.into_primitive());
        let (out, sums) = B::masked_projection_with_sums(qkv, cos, sin, bias, split, scoring);
        (Self::from_inner(out), Self::from_inner(sums))
    }

    fn masked_projection_backward(
        qkv: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        split: Split,
        scoring: Scoring,
    ) -> FloatTensor<Self> {
        let [qkv, cos, sin, bias] = [qkv, cos, sin, bias].map(|tensor| tensor.into_primitive());
        let [out, sums, upstream] = [out, sums, upstream].map(|tensor| tensor.into_primitive());
        Self::from_inner(B::masked_projection_backward(qkv, cos, sin, bias, out, sums, upstream, split, scoring))
    }

    fn masked_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scoring: Scoring,
    ) -> FloatTensor<Self> {
        // Compute bound: a checkpointing strategy must not run it a second time.
        match MaskedAttention.prepare::<C>([q.node(), k.node(), v.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let inputs = [prep.checkpoint(&q), prep.checkpoint(&k), prep.checkpoint(&v)];
                let [q, k, v, bias] = [q, k, v, bias].map(|tensor| tensor.into_primitive());
                let (out, sums) = B::masked_attention_with_sums(q, k, v, bias.clone(), scoring);
                prep.finish(State { inputs, bias, out: out.clone(), sums, scoring }, out)
            }
            OpsKind::UnTracked(prep) => {
                let [q, k, v, bias] = [q, k, v, bias].map(|tensor| tensor.into_primitive());
                prep.finish(B::masked_attention(q, k, v, bias, scoring))
            }
        }
    }

    fn masked_attention_with_sums(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        scoring: Scoring,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        // A part of the above, never on a tape of its own.
        let [q, k, v, bias] = [q, k, v, bias].map(|tensor| tensor.into_primitive());
        let (out, sums) = B::masked_attention_with_sums(q, k, v, bias, scoring);
        (Self::from_inner(out), Self::from_inner(sums))
    }

    fn masked_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        scoring: Scoring,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [q, k, v, bias, out, sums, upstream] =
            [q, k, v, bias, out, sums, upstream].map(|tensor| tensor.into_primitive());
        let (q, k, v) = B::masked_attention_backward(q, k, v, bias, out, sums, upstream, scoring);
        (Self::from_inner(q), Self::from_inner(k), Self::from_inner(v))
    }
}
