//! The switch of the fused operations.

use core::sync::atomic::{AtomicBool, Ordering};

static FUSED: AtomicBool = AtomicBool::new(true);

/// Turns the fused operations of this process off or on; they are on at the start.
///
/// When they are off, norms, activations, rotary positions and attention are made of burn's own operations, and
/// differentiated by burn: slower, with more memory, and the same up to rounding. That is for comparisons, and for finding
/// out whether one of them is to blame. [`gelu`](crate::gelu()) and [`linear_cross_entropy`](crate::linear_cross_entropy)
/// stay as they are: the one is there for its exactness, the other for its memory.
pub fn set_fused(on: bool) {
    FUSED.store(on, Ordering::Relaxed);
}

/// Whether the fused operations are on.
pub fn fused() -> bool {
    FUSED.load(Ordering::Relaxed)
}
