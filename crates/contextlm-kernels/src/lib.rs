//! Differentiable operations of ContextLM that burn does not have, as burn backend extensions.
//!
//! | function | what |
//! |---|---|
//! | [`linear_cross_entropy`] | language-model loss from hidden states and head weight, never keeping the logits |
//! | [`linear`] | linear maps, those of few rows at the speed of the memory |
//! | [`linear_int8`], [`quantize_int8`] | linear maps with weights of 8 bits |
//! | [`attention`], [`attention_of_projection`] | causal attention with grouped heads, earlier keys and packed documents, never keeping the scores |
//! | [`gelu`], [`gelu_tanh`], [`swiglu`] | activations; the exact GELU has an exact gradient on every backend |
//! | [`layer_norm`], [`rms_norm`] | norms |
//! | [`rotary`] | rotary positions |
//! | [`embedding`] | rows of a table, whose gradient GPUs add up in one order |
//! | [`adamw`], [`adamw_together`] | a step of the optimizer, in place |
//! | [`l2_norm`], [`scale`] | of lists of tensors, such as all gradients |
//!
//! They take and return [`Tensor`](burn::tensor::Tensor)s and run on the backend of their tensors. The Cargo features
//! `flex`, `wgpu`, `cuda`, `cpu` and `libtorch` say for which backends they are compiled; on another one they panic. With
//! `cuda-cpp`, products on NVIDIA's Hopper are by a kernel of our own.
//! Programs turn them on through `contextlm-device`. [`set_fused`] turns what is only there for speed off.
//!
//! # How an operation is built
//!
//! Each operation is a folder of three parts, and a further one goes beside them:
//!
//! - **the public function** (`cross_entropy.rs`, `gelu.rs`): tensors in, tensors out, no backend named. It calls
//!   burn's run-time dispatch, which looks up the backend of the tensors.
//! - **the extension trait** (`ops.rs`): a trait over burn's `Backend` whose *composed* default body is written with
//!   that trait's own operations, so it is right on every backend. A backend with an empty `impl` takes it; a *fast*
//!   body for one backend is an overridden method of that `impl`. `#[backend_extension]` writes the dispatch.
//!   What has a fast body has it in a file of the backend's name (`flex.rs`, `libtorch.rs`), and the composed bodies then
//!   stand in `composed.rs`, since the fast ones need them for other types than f32. Loops over slices, which backends on
//!   the CPU share, stand in `slices.rs`. Attention and rotary positions have no
//!   composed body on that level: where there is no fast one they are made of tensor operations, which burn
//!   differentiates.
//! - **the backward** (`backward.rs`): the `impl` for `Autodiff<B, C>`, which calls the body of the backend `B` below it
//!   and registers the gradient by hand. It holds for every backend and both checkpointing strategies `C`.
//!
//! With burn's `fusion` on, `Cube` names the lazily fused CubeCL backend, and a composed body runs on it as any other
//! sequence of operations. A hand-written CubeCL kernel is implemented for `CubeBackend` instead and described to fusion
//! with the macro's `Fusion` selector: those are in `gpu/`, a file each, behind one trait, which the `gpu.rs` of an operation calls.

// burn marks its LibTorch backend as deprecated; naming it is what the feature is for.
#![cfg_attr(feature = "libtorch", allow(deprecated))]
// What only flex has a body for is called by nobody without it.
#![cfg_attr(not(feature = "flex"), allow(unused_variables, dead_code))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

mod adamw;
mod attention;
mod cast;
mod cross_entropy;
mod device;
mod embedding;
#[cfg(feature = "flex")]
mod flex;
mod fused;
mod gelu;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod gpu;
mod int8;
#[cfg(feature = "libtorch")]
mod libtorch;
mod linear;
mod lists;
mod norm;
mod projection;
mod rotary;
#[cfg(any(feature = "flex", feature = "libtorch"))]
mod slices;
mod swiglu;

pub use adamw::{AdamWStep, adamw, adamw_together};
pub use attention::{KeyRanges, attention, attention_with};
pub use cross_entropy::{
    CrossEntropy, CrossEntropyOptions, IGNORE_INDEX, linear_cross_entropy, linear_cross_entropy_parts,
};
pub use device::on_flex;
pub use embedding::embedding;
pub use fused::{fused, set_fused};
pub use gelu::{gelu, gelu_tanh};
pub use int8::{linear_int8, quantize_int8};
pub use linear::linear;
pub use lists::{l2_norm, listed, scale};
pub use norm::{layer_norm, rms_norm};
pub use projection::{QkvOrder, attention_of_projection, split_projection, split_turned_projection};
pub use rotary::rotary;
pub use swiglu::swiglu;
