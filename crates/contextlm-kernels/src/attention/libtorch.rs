//! Attention on LibTorch: its own operations forward and backward, which keep the inputs, the output and one number for each
//! query. The dispatch of `scaled_dot_product_attention` itself would need its tape.

use burn::backend::LibTorch;
use burn::tensor::Device;
use tch::Tensor;

use super::ops::AttentionOps;
use super::{KeyRanges, libtorch_cuda as cuda};
use crate::libtorch::TorchTensor;

/// Queries, keys and values as LibTorch's operation wants them.
pub(crate) struct Inputs {
    /// [B, H, T, Dh], and twice [B, H, S, Dh], every key-value head as often as there are queries for it.
    qkv: [Tensor; 3],
    /// Key-value heads, G.
    kv_heads: i64,
    /// Whether the keys of each query are all up to its own, in which case there is no mask.
    causal: bool,
    /// Added to scores, [B, 1, T, S] or [1, 1, T, S].
    mask: Option<Tensor>,
    scale: f64,
}

impl Inputs {
    /// Of q [B, T, H, Dh], k and v [B, S, G, Dh], all in one type.
    pub(crate) fn new(q: &Tensor, k: &Tensor, v: &Tensor, ranges: &KeyRanges, scale: f64) -> Self {
        let (heads, kv_heads) = (q.size()[2], k.size()[2]);
        let causal = ranges.all_before();
        // The bias is f32; the operation takes it in the type of the queries.
        let mask = (!causal && !ranges.all_keys()).then(|| {
            let bias = ranges.bias(&Device::libtorch()).try_into_primitive::<LibTorch>();
            bias.map(|bias| bias.tensor.to_kind(q.kind()))
        });
        let mask = mask.and_then(Result::ok);
        debug_assert!(mask.is_none() || q.device() == tch::Device::Cpu, "on GPUs there is no body with a mask");
        let qkv = [by_head(q, 1), by_head(k, heads / kv_heads), by_head(v, heads / kv_heads)];
        Self { qkv, kv_heads, causal, mask, scale }
    }

    /// The mix of values [B, T, H*Dh], and the logarithm of every softmax's sum [B, T, H]; on GPUs with more places than T, see
    /// [`cuda::forward`].
    pub(crate) fn forward(&self) -> (Tensor, Tensor) {
        let [q, k, v] = &self.qkv;
        let (out, sums) = match q.device() {
            tch::Device::Cpu => self.forward_on_cpu(),
            _ => cuda::forward([q, k, v], self.causal, self.scale),
        };
        let [rows, heads, queries, width] = sizes(q);
        (out.transpose(1, 2).reshape([rows, queries, heads * width]), sums.transpose(1, 2))
    }

    /// The mix of values [B, H, T, Dh], and the logarithms [B, H, T].
    fn forward_on_cpu(&self) -> (Tensor, Tensor) {
        let [q, k, v] = &self.qkv;
        Tensor::internal_scaled_dot_product_flash_attention_for_cpu(
            q,
            k,
            v,
            0.0,
            self.causal,
            self.mask.as_ref(),
            self.scale,
        )
    }

    /// Gradients [B, T, H, Dh], and twice [B, S, G, Dh], from what [`forward`](Self::forward) gave.
    pub(crate) fn backward(&self, out: &Tensor, sums: &Tensor, upstream: &Tensor) -> [Tensor; 3] {
        let [q, k, v] = &self.qkv;
        let [rows, heads, queries, width] = sizes(q);
        let of_heads = |x: &Tensor| x.reshape([rows, queries, heads, width]).transpose(1, 2);
        let (upstream, out, sums) = (of_heads(upstream), of_heads(out), sums.transpose(1, 2));
        let (for_q, for_k, for_v) = match q.device() {
            tch::Device::Cpu => Tensor::internal_scaled_dot_product_flash_attention_for_cpu_backward(
                &upstream,
                q,
                k,
                v,
                &out,
                &sums,
                0.0,
                self.causal,
                self.mask.as_ref(),
                self.scale,
            ),
            _ => cuda::backward(&upstream, [q, k, v], &out, &sums, self.causal, self.scale),
        };
        let grouped = |gradient: Tensor| {
            let [rows, heads, keys, width] = sizes(&gradient);
            if heads == self.kv_heads {
                return gradient.transpose(1, 2);
            }
            let groups = gradient.reshape([rows, self.kv_heads, heads / self.kv_heads, keys, width]);
            groups.sum_dim_intlist([2i64].as_slice(), false, gradient.kind()).transpose(1, 2)
        };
        [for_q.transpose(1, 2), grouped(for_k), grouped(for_v)]
    }
}

/// [B, N, G, Dh] to [B, G * times, N, Dh], the dimensions of a head side by side.
fn by_head(x: &Tensor, times: i64) -> Tensor {
    let x = x.transpose(1, 2);
    let [rows, heads, length, width] = sizes(&x);
    if times > 1 {
        let all = x.unsqueeze(2).expand([rows, heads, times, length, width], false);
        return all.reshape([rows, heads * times, length, width]);
    }
    if x.stride()[3] == 1 { x } else { x.contiguous() }
}

fn sizes(x: &Tensor) -> [i64; 4] {
    let size = x.size();
    std::array::from_fn(|i| size.get(i).copied().unwrap_or(1))
}

impl AttentionOps for LibTorch {
    fn fused_attention(q: TorchTensor, k: TorchTensor, v: TorchTensor, ranges: KeyRanges, scale: f64) -> TorchTensor {
        Self::fused_attention_with_sums(q, k, v, ranges, scale).0
    }

    fn fused_attention_with_sums(
        q: TorchTensor,
        k: TorchTensor,
        v: TorchTensor,
        ranges: KeyRanges,
        scale: f64,
    ) -> (TorchTensor, TorchTensor) {
        let (out, sums) = Inputs::new(&q.tensor, &k.tensor, &v.tensor, &ranges, scale).forward();
        (TorchTensor::new(out), TorchTensor::new(sums))
    }

    fn fused_attention_backward(
        q: TorchTensor,
        k: TorchTensor,
        v: TorchTensor,
        out: TorchTensor,
        sums: TorchTensor,
        upstream: TorchTensor,
        ranges: KeyRanges,
        scale: f64,
    ) -> (TorchTensor, TorchTensor, TorchTensor) {
        let inputs = Inputs::new(&q.tensor, &k.tensor, &v.tensor, &ranges, scale);
        let [q, k, v] = inputs.backward(&out.tensor, &sums.tensor, &upstream.tensor);
        (TorchTensor::new(q), TorchTensor::new(k), TorchTensor::new(v))
    }
}
