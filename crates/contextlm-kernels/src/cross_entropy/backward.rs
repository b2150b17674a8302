//! The gradient of the loss, registered by hand.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, Backend};

use super::ops::LinearCrossEntropyOps;

/// Parents: hidden, weight. Its state is their gradients for an upstream gradient of 1, made by the forward.
#[derive(Debug)]
struct LinearCrossEntropy;

impl<B: Backend + LinearCrossEntropyOps> Backward<B, 2> for LinearCrossEntropy {
    type State = [Option<FloatTensor<B>>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let upstream = grads.consume::<B>(&ops.node);
        for (parent, gradient) in ops.parents.into_iter().zip(ops.state) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, B::scaled_gradient(gradient, upstream.clone()));
            }
        }
    }
}

impl<B: Backend + LinearCrossEntropyOps, C: CheckpointStrategy> LinearCrossEntropyOps for Autodiff<B, C> {
    fn linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        scale: f64,
        z_loss: f64,
        slice_rows: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let wanted = [hidden.is_tracked(), weight.is_tracked()];
        let (hidden, hidden_node) = hidden.into_parts();
        let (weight, weight_node) = weight.into_parts();
        // Compute bound: a checkpointing strategy must not run the pass a second time.
        match LinearCrossEntropy.prepare::<C>([hidden_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (loss, nll, for_hidden, for_weight) =
                    B::linear_cross_entropy_with_gradients(hidden, weight, targets, scale, z_loss, slice_rows, wanted);
                (prep.finish([for_hidden, for_weight], loss), Self::from_inner(nll))
            }
            OpsKind::UnTracked(prep) => {
                let (loss, nll) = B::linear_cross_entropy(hidden, weight, targets, scale, z_loss, slice_rows);
                (prep.finish(loss), Self::from_inner(nll))
            }
        }
    }
}
