use std::ops::Range;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Int, Tensor};
use contextlm_nn::{Block, DecodingCache, Positions};

use crate::{BackboneFlops, BackboneSpec, TensorNames};

/// A causal language model that can run a range of its blocks.
///
/// This is all that ContextLM asks of the model it is built on. Five methods are required; the others have
/// defaults. What an implementation promises:
///
/// - **Causality.** The state of entry t after [`blocks`](Self::blocks) depends on entries 0..=t only, by their
///   order in the sequence, never by their position ids, and where [`Positions::documents`] is set on entries
///   of the same document only.
/// - **Composition.** Running blocks `a..b` and then `b..c` equals running `a..c`; an empty range changes nothing.
/// - **Position ids** come from [`Positions::ids`], because documents restart them and the decoder may be given
///   more entries than tokens (the `interleave` fusion). A backbone that derives positions from the index of an
///   entry says so with [`supports_extra_entries`](Self::supports_extra_entries).
///
/// It has this shape because ContextLM cuts the stack at a depth that is a setting, puts its predictor between
/// the halves, and sends loss and sampling through norm and head apart from each other: the head alone is as
/// large as many blocks, and is used in slices.
pub trait Backbone: Module + ModuleDisplay {
    /// What one block remembers of the entries before, for decoding token by token. A backbone without caches
    /// uses `()` here and leaves the methods below as they are; one that is built from our blocks uses
    /// [`KvCache`](crate::KvCache).
    type Cache: DecodingCache;

    /// Sizes.
    fn spec(&self) -> BackboneSpec;

    /// Token states before the first block.
    ///
    /// # Shapes
    /// tokens [B, T] to [B, T, D]
    fn embed(&self, tokens: Tensor<2, Int>, at: &Positions) -> Tensor<3>;

    /// Runs the blocks of a range, `0..layers` at most. `caches`, where given, has one entry for every block of
    /// the range and is only passed if [`new_caches`](Self::new_caches) made it.
    ///
    /// # Shapes
    /// [B, T, D] to [B, T, D]
    fn blocks(
        &self,
        x: Tensor<3>,
        range: Range<usize>,
        at: &Positions,
        caches: Option<&mut [Self::Cache]>,
    ) -> Tensor<3>;

    /// The norm before the head.
    ///
    /// # Shapes
    /// [B, T, D] to [B, T, D]
    fn norm(&self, x: Tensor<3>) -> Tensor<3>;

    /// Weight of the LM head: logits are `norm(x) head^T`. A tied head returns the token embedding itself, so
    /// that there is one tensor and one gradient.
    ///
    /// # Shapes
    /// [V, D]
    fn head(&self) -> Tensor<2>;

    /// Empty caches for a range of blocks, for `rows` sequences of at most `capacity` entries; `None` if the
    /// backbone has no caches, in which case decoding runs the whole sequence again for every token. Rows may come to
    /// hold different numbers of entries: [`Positions::bias`] and [`Positions::counts`] then say so.
    fn new_caches(
        &self,
        range: Range<usize>,
        rows: usize,
        capacity: usize,
        device: &Device,
    ) -> Option<Vec<Self::Cache>> {
        let _ = (range, rows, capacity, device);
        None
    }

    /// Whether the blocks take entries that are not tokens: two entries with the same position id, and more
    /// entries than positions. The `interleave` fusion needs it.
    fn supports_extra_entries(&self) -> bool {
        true
    }

    /// Arithmetic for one token that attends to `attended` entries, if it is known.
    fn flops(&self, attended: usize) -> Option<BackboneFlops> {
        let _ = attended;
        None
    }

    /// All blocks in order, where they are our own [`Block`]s: for who looks inside, such as attention maps.
    fn own_blocks(&self) -> Option<&[Block]> {
        None
    }

    /// What the parameters are called in Hugging Face's files. Without a table a model file has a parameter under
    /// its path in the module, after `backbone.`, and as it is.
    fn tensor_names(&self) -> Option<&'static TensorNames> {
        None
    }
}
