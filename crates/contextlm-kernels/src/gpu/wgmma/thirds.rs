//! f32 for an instruction that multiplies bf16: every number as the sum of three.
//!
//! A bf16 has 8 bits of mantissa, f32 has 24, so hi + mid + lo is the number itself, down to 2^-110, where lo
//! becomes too small for a bf16. Of the nine products of two such sums, six
//! matter: the other three are below the last bit of the result. Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial
//! Intelligence Datatype For Higher-Precision Computations", <https://arxiv.org/abs/1904.06376>.
//!
//! An infinity becomes NaN, and so do more than bf16's largest number, 3.39e38, and sums that overflow.

/// Which parts of x and y are multiplied, 0 being the largest; the smallest products first, so that they are not lost in the
/// sum of the others.
const PAIRS: [(u32, u32); 6] = [(2, 0), (0, 2), (1, 1), (1, 0), (0, 1), (0, 0)];

/// How many products there are instead of one.
pub(super) const ROUNDS: u32 = PAIRS.len() as u32;

/// The parts of x and of y in every round, two bits each, as a kernel looks them up.
pub(super) const PARTS: (u32, u32) = {
    let (mut x, mut y, mut round) = (0, 0, 0);
    while round < PAIRS.len() {
        x |= PAIRS[round].0 << (2 * round);
        y |= PAIRS[round].1 << (2 * round);
        round += 1;
    }
    (x, y)
};
