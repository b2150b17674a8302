//! Gradients of linear maps are burn's own.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::{Autodiff, Backend};

use super::ops::LinearMapOps;

/// The default bodies: burn's `linear`, which registers its gradient.
impl<B: Backend + LinearMapOps, C: CheckpointStrategy> LinearMapOps for Autodiff<B, C> {}
