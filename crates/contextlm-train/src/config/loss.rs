use contextlm_core::LatentLoss;
use serde::{Deserialize, Serialize};

use super::at_least_0;
use crate::TrainError;

/// What is added to the cross-entropy.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Loss on the predicted contexts.
    pub latent_loss: LatentLoss,
    /// Its weight.
    pub latent_weight: f64,
    /// Weight of the z-loss, the squared logarithm of every softmax's normaliser.
    pub z_loss: f64,
}

impl LossConfig {
    pub(super) fn validate(&self) -> Result<(), TrainError> {
        at_least_0("loss.latent_weight", self.latent_weight)?;
        at_least_0("loss.z_loss", self.z_loss)
    }
}
