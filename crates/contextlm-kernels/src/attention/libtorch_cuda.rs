//! PyTorch's attention for GPUs, without dropout, where each query attends to all keys or, `causal`, to those up to its own: flash
//! attention in bf16 and f16 where PyTorch would take it, elsewhere the memory-efficient one.

use tch::{Device, Kind, Tensor};

use crate::libtorch::script;

/// Whether flash attention is for these: on GPUs from Ampere on, which PyTorch tells by its choice among its own ways. It has
/// a backward for all heads up to this width.
fn takes_flash([q, k, v]: [&Tensor; 3], causal: bool, scale: f64) -> bool {
    const WIDEST: i64 = 128;
    /// `flash_attention` and `cudnn_attention` of PyTorch's `SDPBackend`; where it has the second it has the first.
    const CHOICES: [i64; 2] = [1, 3];
    let low = matches!(q.kind(), Kind::BFloat16 | Kind::Half);
    let choice = || Tensor::internal_fused_sdp_choice(q, k, v, None::<Tensor>, 0.0, causal, scale, false);
    low && q.size()[3] <= WIDEST && script::is_there() && CHOICES.contains(&choice())
}

/// From q [B, H, T, Dh], k and v [B, H, S, Dh], the mix of values of the shape of q, and the logarithm of every softmax's sum
/// [B, H, T'], where T' is T or, of the memory-efficient one, T up to a multiple of 32: the backward wants them as they are.
pub(super) fn forward([q, k, v]: [&Tensor; 3], causal: bool, scale: f64) -> (Tensor, Tensor) {
    if takes_flash([q, k, v], causal, scale)
        && let Some([out, sums]) = script::flash_attention([q, k, v], causal, scale)
    {
        return (out, sums);
    }
    let (keep_sums, dropout) = (true, 0.0);
    let (out, sums, _seed, _offset) = Tensor::internal_scaled_dot_product_efficient_attention(
        q,
        k,
        v,
        None::<Tensor>,
        keep_sums,
        dropout,
        causal,
        scale,
    );
    (out, sums)
}

/// The gradients of q, k and v, of their shapes; `sums` are those of [`forward`].
pub(super) fn backward(
    upstream: &Tensor,
    inputs: [&Tensor; 3],
    out: &Tensor,
    sums: &Tensor,
    causal: bool,
    scale: f64,
) -> (Tensor, Tensor, Tensor) {
    match takes_flash(inputs, causal, scale) {
        true => flash_backward(upstream, inputs, out, sums, causal, scale),
        false => efficient_backward(upstream, inputs, out, sums, causal, scale),
    }
}

fn flash_backward(
    upstream: &Tensor,
    [q, k, v]: [&Tensor; 3],
    out: &Tensor,
    sums: &Tensor,
    causal: bool,
    scale: f64,
) -> (Tensor, Tensor, Tensor) {
    // Of packed sequences, which there are none of.
    let ends = Tensor::new();
    // Read with dropout only.
    let none = Tensor::empty([2], (Kind::Int64, q.device()));
    let dropout = 0.0;
    // What reaches the output may be one number for all of its elements, or in another order.
    Tensor::internal_scaled_dot_product_flash_attention_backward(
        &upstream.contiguous(),
        q,
        k,
        v,
        out,
        sums,
        &ends,
        &ends,
        q.size()[2],
        k.size()[2],
        dropout,
        causal,
        &none, // seed
        &none, // offset
        scale,
    )
}

fn efficient_backward(
    upstream: &Tensor,
    [q, k, v]: [&Tensor; 3],
    out: &Tensor,
    sums: &Tensor,
    causal: bool,
    scale: f64,
) -> (Tensor, Tensor, Tensor) {
    // `CausalFromTopLeft` and `NoCustomMask` of PyTorch's `CustomMaskType`.
    let mask = if causal { 1 } else { 0 };
    let (queries, keys) = (q.size()[2], k.size()[2]);
    // The operation below that of the forward, whose tensors are [B, T, H, Dh]: tch does not export the one beside it.
    let by_entry = |x: &Tensor| x.transpose(1, 2);
    // What reaches the output may be one number for all of its elements, or in another order; the kernel wants it side by side.
    let upstream = by_entry(upstream).contiguous();
    // Read with dropout only.
    let none = Tensor::zeros([], (Kind::Int64, Device::Cpu));
    let (dropout, bias_gradient, shared_storage) = (0.0, false, false);
    let (for_q, for_k, for_v, _) = Tensor::internal_efficient_attention_backward(
        &upstream,
        &by_entry(q),
        &by_entry(k),
        &by_entry(v),
        None::<Tensor>, // bias
        &by_entry(out),
        None, // ends of packed sequences of queries
        None, // and of keys
        queries,
        keys,
        sums,
        dropout,
        &none, // seed
        &none, // offset
        mask,
        bias_gradient,
        scale,
        None, // splits of the keys: its own choice
        None, // window
        shared_storage,
    );
    (by_entry(&for_q), by_entry(&for_k), by_entry(&for_v))
}
