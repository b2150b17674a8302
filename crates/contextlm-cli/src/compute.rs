//! Where and how a model is computed, on the command line.

use std::error::Error;
use std::path::Path;

use contextlm_core::Device;
use contextlm_weights::{Loaded, WeightsError};

use crate::dtype::Dtype;
use crate::model;

/// Device and type.
#[derive(clap::Args)]
pub(crate) struct Compute {
    /// Where to compute: cpu, wgpu, cuda:0, libtorch, as far as they are built in
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Type of the parameters in memory, and of the matrix products
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    pub(crate) dtype: Dtype,
}

impl Compute {
    /// The device of this name.
    pub(crate) fn device(&self) -> Result<Device, Box<dyn Error>> {
        Ok(contextlm_device::device(&self.device)?)
    }

    /// The model of a directory on it, in this type.
    pub(crate) fn load(&self, dir: &Path, device: &Device) -> Result<Loaded, WeightsError> {
        model::load(dir, device, self.dtype)
    }
}
