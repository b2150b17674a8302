//! The switch of the fused operations.

use core::sync::atomic::{AtomicBool, Ordering};

static FUSED: AtomicBool = AtomicBool::new(true);

/// Turns the fused operations of this process off or on; they are on at the start.
///
/// When they are off, norms, activations, rotary positions, attention and the optimizer's step are made of burn's own
/// operations, and differentiated by burn, and linear maps are burn's: slower, with more memory, and the same up to
/// rounding. That is for comparisons, and for finding out whether one of them is to blame.
///
/// Two keep their gradients. [`gelu`](crate::gelu()) stays as it is, since it is there for its exactness.
/// [`linear_cross_entropy`](crate::linear_cross_entropy) still goes over the logits in slices, since it is there for its
/// memory, but with burn's operations.
pub fn set_fused(on: bool) {
    FUSED.store(on, Ordering::Relaxed);
}

/// Whether the fused operations are on.
pub fn fused() -> bool {
    FUSED.load(Ordering::Relaxed)
}
