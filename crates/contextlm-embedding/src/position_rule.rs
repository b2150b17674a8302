//! The position rule: which predicted context guides which position (Figure 2).
//!
//! Position t, whose logits predict token t + 1, is guided by the context predicted for the chunk that token
//! t + 1 lies in. With w = 4 and T = 12, positions 0..2 use the initial context, 3..6 `c_hat[1]`, 7..10
//! `c_hat[2]`, and 11 `c_hat[3]`. So the prediction of chunk k guides exactly the w tokens of chunk k, and is made
//! from tokens before it.

/// Index into `c_hat` for position `t` of a document: floor((t + 1) / w).
///
/// # Panics
/// If `chunk_size` is 0.
pub fn context_of(t: usize, chunk_size: usize) -> usize {
    (t + 1) / chunk_size
}

/// The first position that context `k` guides: k w - 1, and 0 for the initial context.
/// With w = 1 the initial context guides no position.
pub fn first_position_of(k: usize, chunk_size: usize) -> usize {
    (k * chunk_size).saturating_sub(1)
}
