//! What `metrics.jsonl` tells of a run.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::directory::METRICS;
use crate::plot::{Curve, loss_curves};
use crate::{CheckpointFolder, Evaluation, Run, StepMetrics, TrainError};

/// Draws the losses of a run to `report.svg`, if it has made a step.
pub(super) fn write(dir: &Path) -> Result<(), TrainError> {
    let run = read(dir)?;
    if run.steps.is_empty() {
        return Ok(());
    }
    let name = dir.file_name().map_or("run".into(), |name| name.to_string_lossy().into_owned());
    loss_curves(dir.join("report.svg"), &name, &[Curve { name: &name, run: &run }])
}

/// The lowest validation loss at a checkpoint that is there, and its step.
pub(super) fn best(dir: &Path, checkpoints: &CheckpointFolder) -> Result<Option<(f64, usize)>, TrainError> {
    let valid = read(dir)?.valid.into_iter().map(|(step, found)| (found.loss(), step));
    Ok(valid.filter(|(_, step)| checkpoints.of_step(*step).exists()).min_by(|a, b| a.0.total_cmp(&b.0)))
}

/// The steps and validations of a run. What is no line of theirs, as at the end of a run that was killed, is left out.
fn read(dir: &Path) -> Result<Run, TrainError> {
    let path = dir.join(METRICS);
    let mut run = Run::default();
    if !path.exists() {
        return Ok(run);
    }
    for line in fs::read_to_string(&path).map_err(TrainError::io(&path))?.lines() {
        if let Ok(step) = serde_json::from_str::<StepMetrics>(line) {
            run.steps.push(step);
        } else if let Ok(valid) = serde_json::from_str::<Value>(line) {
            let count = |key: &str| valid[key].as_u64().map(|count| count as usize);
            if let (Some(step), Some(loss), Some(tokens)) =
                (count("step"), valid["valid_loss"].as_f64(), count("valid_tokens"))
            {
                run.valid.push((step, Evaluation { nll: loss * tokens as f64, tokens }));
            }
        }
    }
    Ok(run)
}
