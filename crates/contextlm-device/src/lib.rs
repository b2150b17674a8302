//! The backends of ContextLM, chosen at run time.
//!
//! This is the only crate with backend features. Libraries take a [`Device`]; programs get one here:
//!
//! ```
//! # #[cfg(feature = "flex")]
//! let device = contextlm_device::device("cpu")?;
//! # Ok::<(), contextlm_device::DeviceError>(())
//! ```
//!
//! | name | feature | what it is |
//! |---|---|---|
//! | `cpu` | `flex` (default) | pure Rust on the CPU; AVX-512 matrix products on x86-64 where the processor has them |
//! | `wgpu`, `wgpu:i` | `wgpu` | GPUs through Vulkan, Metal or DirectX 12 |
//! | `cuda`, `cuda:i` | `cuda-cpp`, or `cuda` | NVIDIA GPUs; kernels compiled by NVRTC, or by LLVM |
//! | `libtorch` | `libtorch` | PyTorch 2.9.0 on the CPU |
//! | `libtorch-cuda`, `libtorch-cuda:i` | `libtorch` | PyTorch 2.9.0 on NVIDIA GPUs |
//! | `cubecl-cpu` | `cpu` | CubeCL on the CPU, through LLVM |
//!
//! A device computes without gradients; [`Device::autodiff`] gives the one to train on.

mod device;
mod error;
mod hardware;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod kernels;
#[cfg(any(test, feature = "cuda-cpp"))]
mod toolkit;

pub use burn::tensor::Device;
pub use device::{device, names};
pub use error::DeviceError;
pub use hardware::hardware;
