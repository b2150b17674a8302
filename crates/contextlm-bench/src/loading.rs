use std::error::Error;
use std::path::Path;
use std::time::Instant;

use contextlm_core::Device;

use crate::{Answer, PeakMemory, Sample, Work};

/// Loads a model directory once.
pub(crate) fn measure(dir: &Path, device: &Device) -> Result<Answer, Box<dyn Error>> {
    let (memory, clock) = (PeakMemory::begin(), Instant::now());
    let loaded = contextlm_weights::load(dir, device)?;
    device.sync()?;
    let seconds = clock.elapsed().as_secs_f64();
    let samples = vec![Sample { work: Work::Loading, seconds, tokens: 0 }];
    Ok(Answer { samples, parameters: loaded.model.parameters().total as u64, peak_bytes: memory.end(), program: None })
}
