//! The gradient of an embedding table, registered by hand so that GPUs may have a kernel of their own for it.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, Backend};

use super::ops::EmbeddingOps;

/// Parent: the table. State: it, for its shape, and the numbers.
#[derive(Debug)]
struct RowsOfTable;

impl<B: Backend + EmbeddingOps> Backward<B, 1> for RowsOfTable {
    type State = (FloatTensor<B>, IntTensor<B>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let (table, numbers) = ops.state;
        let upstream = grads.consume::<B>(&ops.node);
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, B::rows_of_table_backward(table, numbers, upstream));
        }
    }
}

impl<B: Backend + EmbeddingOps, C: CheckpointStrategy> EmbeddingOps for Autodiff<B, C> {
    fn rows_of_table(table: FloatTensor<Self>, numbers: IntTensor<Self>) -> FloatTensor<Self> {
        match RowsOfTable.prepare::<C>([table.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let table = table.into_primitive();
                let rows = B::rows_of_table(table.clone(), numbers.clone());
                prep.finish((table, numbers), rows)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::rows_of_table(table.into_primitive(), numbers)),
        }
    }

    fn rows_of_table_backward(
        table: FloatTensor<Self>,
        numbers: IntTensor<Self>,
        upstream: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        // A part of the above, never on a tape of its own.
        Self::from_inner(B::rows_of_table_backward(table.into_primitive(), numbers, upstream.into_primitive()))
    }
}
