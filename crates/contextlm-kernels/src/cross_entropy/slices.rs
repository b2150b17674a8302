//! The loss on slices: logits become the gradient of the loss in one pass, in place.

use super::IGNORE_INDEX;
use crate::slices::math::{exp, max, sum};
use crate::slices::parallel::{blocks, rows_of_block};

/// Loss and z-loss of every row, with `scale`; with `gradient`, the logits become their gradient.
pub(super) fn softmax(
    logits: &mut [f32],
    vocabulary: usize,
    targets: &[i64],
    [scale, z_loss]: [f32; 2],
    gradient: bool,
) -> Vec<[f32; 2]> {
    let rows = rows_of_block(vocabulary);
    let of_blocks = blocks(
        logits,
        (rows * vocabulary).max(1),
        #[inline(always)]
        |number, logits| {
            let targets = &targets[number * rows..];
            let mut losses = Vec::with_capacity(rows);
            for (logits, &target) in logits.chunks_exact_mut(vocabulary).zip(targets) {
                if target == IGNORE_INDEX {
                    logits.fill(0.0);
                    losses.push([0.0; 2]);
                    continue;
                }
                let of_target = logits[target as usize];
                let most = max(logits);
                for logit in logits.iter_mut() {
                    *logit = exp(*logit - most);
                }
                let total = sum(
                    vocabulary,
                    #[inline(always)]
                    |i| logits[i],
                );
                let log_total = total.ln();
                let normaliser = most + log_total;
                losses.push([scale * (log_total - (of_target - most)), scale * z_loss * normaliser * normaliser]);
                if gradient {
                    let factor = scale * (1.0 + 2.0 * z_loss * normaliser) / total;
                    for logit in logits.iter_mut() {
                        *logit *= factor;
                    }
                    logits[target as usize] -= scale;
                }
            }
            losses
        },
    );
    of_blocks.into_iter().flatten().collect()
}
