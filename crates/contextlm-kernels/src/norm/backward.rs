//! The gradients of the norms, registered by hand.

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

use super::ops::NormOps;

/// Parents: x, weight, bias. State: x and weight, which the checkpointer keeps or computes again, statistics of the rows where
/// the forward gave them, and eps.
#[derive(Debug)]
struct LayerNorm;

/// Parents: x, weight. State: both, and eps.
#[derive(Debug)]
struct RmsNorm;

impl<B: Backend + NormOps> Backward<B, 3> for LayerNorm {
    type State = ([NodeId; 2], Option<[FloatTensor<B>; 2]>, f64);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let ([x, weight], statistics, eps) = ops.state;
        let (x, weight) = (checkpointer.retrieve_node_output(x), checkpointer.retrieve_node_output(weight));
        let upstream = grads.consume::<B>(&ops.node);
        let (for_x, for_weight, for_bias) = match statistics {
            Some([mean, rstd]) => B::fused_layer_norm_backward_of(x, weight, upstream, mean, rstd, eps),
            None => B::fused_layer_norm_backward(x, weight, upstream, eps),
        };
        for (parent, gradient) in ops.parents.into_iter().zip([for_x, for_weight, for_bias]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: Backend + NormOps> Backward<B, 2> for RmsNorm {
    type State = ([NodeId; 2], f64);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let ([x, weight], eps) = ops.state;
        let (x, weight) = (checkpointer.retrieve_node_output(x), checkpointer.retrieve_node_output(weight));
        let upstream = grads.consume::<B>(&ops.node);
        let (for_x, for_weight) = B::fused_rms_norm_backward(x, weight, upstream, eps);
        for (parent, gradient) in ops.parents.into_iter().zip([for_x, for_weight]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// Computes the output again, for operations after this one under gradient checkpointing. RMS norm has no bias.
struct Again<B> {
    x: NodeId,
    weight: NodeId,
    bias: Option<NodeId>,
    eps: f64,
    backend: PhantomData<B>,
}

impl<B> Debug for Again<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> core::fmt::Result {
        write!(f, "norm of {:?}", self.x)
    }
}

impl<B: Backend + NormOps> RetroForward for Again<B> {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let x = states.get_state::<FloatTensor<B>>(&self.x);
        let weight = states.get_state::<FloatTensor<B>>(&self.weight);
        let out = match &self.bias {
            Some(bias) => B::fused_layer_norm(x, weight, states.get_state::<FloatTensor<B>>(bias), self.eps),
            None => B::fused_rms_norm(x, weight, self.eps),
        };
        states.save(out_node, out);
    }
}

impl<B: Backend + NormOps, C: CheckpointStrategy> NormOps for Autodiff<B, C> {
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        let again = Again::<B> { x: x.id(), weight: weight.id(), bias: Some(bias.id()), eps, backend: PhantomData };
        let nodes = [x.node(), weight.node(), bias.node()];
        let prep = LayerNorm.prepare::<C>(nodes).memory_bound().retro_forward(again).parents([&x, &weight, &bias]);
        match prep.stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [prep.checkpoint(&x), prep.checkpoint(&weight)];
                let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
                let (out, mean, rstd) = B::fused_layer_norm_with_statistics(x, weight, bias, eps);
                prep.finish((state, mean.zip(rstd).map(|(mean, rstd)| [mean, rstd]), eps), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::fused_layer_norm(
                x.into_primitive(),
                weight.into_primitive(),
                bias.into_primitive(),
                eps,
            )),
        }
    }

    fn fused_rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        let again = Again::<B> { x: x.id(), weight: weight.id(), bias: None, eps, backend: PhantomData };
        let nodes = [x.node(), weight.node()];
        let prep = RmsNorm.prepare::<C>(nodes).memory_bound().retro_forward(again).parents([&x, &weight]);
        let forward =
            |[x, weight]: [FloatTensor<Self>; 2]| B::fused_rms_norm(x.into_primitive(), weight.into_primitive(), eps);
        match prep.stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [prep.checkpoint(&x), prep.checkpoint(&weight)];
                prep.finish((state, eps), forward([x, weight]))
            }
            OpsKind::UnTracked(prep) => prep.finish(forward([x, weight])),
        }
    }
}
