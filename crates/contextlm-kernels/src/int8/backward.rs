//! The gradient of x is burn's own: the weights become f32.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::{Autodiff, Backend};

use super::ops::Int8Ops;

impl<B: Backend + Int8Ops, C: CheckpointStrategy> Int8Ops for Autodiff<B, C> {}
