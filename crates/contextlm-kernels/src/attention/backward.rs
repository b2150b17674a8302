//! The gradient of attention, registered by hand.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend};

use super::KeyRanges;
use super::ops::AttentionOps;

/// Parents: q, k, v.
#[derive(Debug)]
struct Attention;

#[derive(Debug, Clone)]
struct State<T> {
    /// q, k, v, which the checkpointer keeps or computes again.
    inputs: [NodeId; 3],
    out: T,
    sums: T,
    ranges: KeyRanges,
    scale: f64,
}

impl<B: Backend + AttentionOps> Backward<B, 3> for Attention {
    type State = State<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let State { inputs, out, sums, ranges, scale } = ops.state;
        let [q, k, v] = inputs.map(|node| checkpointer.retrieve_node_output(node));
        let upstream = grads.consume::<B>(&ops.node);
        let (for_q, for_k, for_v) = B::fused_attention_backward(q, k, v, out, sums, upstream, ranges, scale);
        for (parent, gradient) in ops.parents.into_iter().zip([for_q, for_k, for_v]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: Backend + AttentionOps, C: CheckpointStrategy> AttentionOps for Autodiff<B, C> {
    fn fused_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        ranges: KeyRanges,
        scale: f64,
    ) -> FloatTensor<Self> {
        // Compute bound: a checkpointing strategy must not run it a second time.
        match Attention.prepare::<C>([q.node(), k.node(), v.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let inputs = [prep.checkpoint(&q), prep.checkpoint(&k), prep.checkpoint(&v)];
                let (q, k, v) = (q.into_primitive(), k.into_primitive(), v.into_primitive());
                let (out, sums) = B::fused_attention_with_sums(q, k, v, ranges.clone(), scale);
                prep.finish(State { inputs, out: out.clone(), sums, ranges, scale }, out)
            }
            OpsKind::UnTracked(prep) => {
                let (q, k, v) = (q.into_primitive(), k.into_primitive(), v.into_primitive());
                prep.finish(B::fused_attention(q, k, v, ranges, scale))
            }
        }
    }

    fn fused_attention_with_sums(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        ranges: KeyRanges,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        // A part of the above, never on a tape of its own.
        let (q, k, v) = (q.into_primitive(), k.into_primitive(), v.into_primitive());
        let (out, sums) = B::fused_attention_with_sums(q, k, v, ranges, scale);
        (Self::from_inner(out), Self::from_inner(sums))
    }

    fn fused_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        out: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        upstream: FloatTensor<Self>,
        ranges: KeyRanges,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [q, k, v, out, sums, upstream] = [q, k, v, out, sums, upstream].map(|tensor| tensor.into_primitive());
        let (q, k, v) = B::fused_attention_backward(q, k, v, out, sums, upstream, ranges, scale);
        (Self::from_inner(q), Self::from_inner(k), Self::from_inner(v))
    }
}
