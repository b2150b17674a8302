use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{StepMetrics, TrainError};

/// A line of `metrics.jsonl` for a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepLine {
    /// What the step did.
    #[serde(flatten)]
    pub metrics: StepMetrics,
    /// Mean of the losses so far, in which older ones count less and less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoothed_loss: Option<f32>,
    /// Share of the device's peak, from 0 to 1; `None` where the peak is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfu: Option<f64>,
}

/// A line of `metrics.jsonl` for a validation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidLine {
    /// Steps before it.
    pub step: usize,
    /// Targets seen before it.
    #[serde(default)]
    pub tokens: u64,
    /// Mean nats a token.
    #[serde(deserialize_with = "null_is_nan")]
    pub valid_loss: f64,
    /// Scored tokens.
    pub valid_tokens: usize,
}

/// JSON has no NaN and no infinity: they are written as null.
pub(crate) fn null_is_nan<'de, D: serde::Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(value)?.unwrap_or(f64::NAN))
}

/// All lines of `metrics.jsonl`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Every step.
    pub steps: Vec<StepLine>,
    /// Every validation.
    pub valid: Vec<ValidLine>,
}

impl History {
    /// Reads a file of metrics.
    pub(crate) fn read(path: &Path) -> Result<Self, TrainError> {
        let file = File::open(path).map_err(TrainError::io(path))?;
        let mut history = Self::default();
        let mut reader = BufReader::new(file);
        let mut line = String::new();
        for number in 1.. {
            line.clear();
            if reader.read_line(&mut line).map_err(TrainError::io(path))? == 0 {
                break;
            }
            let found = history.add(&line);
            // A run that was killed leaves half a line; every whole one ends.
            if let Err(reason) = found.or_else(|reason| if line.ends_with('\n') { Err(reason) } else { Ok(()) }) {
                return Err(TrainError::Metrics { path: path.into(), line: number, reason });
            }
        }
        Ok(history)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let object: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let before = self.steps.last().map(|line| line.metrics);
        let text = |error: serde_json::Error| error.to_string();
        if object.get("valid_loss").is_some() {
            let mut valid: ValidLine = serde_json::from_value(object).map_err(text)?;
            // Where a run says it with its steps only.
            if let Some(before) = before.filter(|before| valid.tokens == 0 && before.step == valid.step) {
                valid.tokens = before.tokens;
            }
            in_order(self.valid.last().map(|line| line.step), valid.step)?;
            self.valid.push(valid);
        } else {
            let step: StepLine = serde_json::from_value(object).map_err(text)?;
            in_order(before.map(|before| before.step), step.metrics.step)?;
            self.steps.push(step);
        }
        Ok(())
    }

    /// The validation of the lowest loss.
    pub fn best(&self) -> Option<&ValidLine> {
        self.valid
            .iter()
            .filter(|line| line.valid_loss.is_finite())
            .min_by(|a, b| a.valid_loss.total_cmp(&b.valid_loss))
    }

    /// Validation losses over the tokens seen before them, those that are numbers.
    pub fn valid_curve(&self) -> Vec<(f64, f64)> {
        let known = self.valid.iter().filter(|line| line.valid_loss.is_finite() && line.tokens > 0);
        known.map(|line| (line.tokens as f64, line.valid_loss)).collect()
    }
}

fn in_order(before: Option<usize>, step: usize) -> Result<(), String> {
    match before {
        Some(before) if step <= before => {
            Err(format!("step {step} after step {before}: these are the lines of more than one run"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<History, TrainError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, text).unwrap();
        History::read(&path)
    }

    const STEP: &str = r#"{"step":1,"tokens":64,"loss":5.5,"lr":0.1,"grad_norm":2.0,"tokens_per_second":10.0}"#;
    const VALID: &str = r#"{"step":1,"valid_loss":5.25,"valid_tokens":20}"#;

    #[test]
    fn a_line_that_was_written_is_read_as_it_was() {
        let metrics: StepMetrics = serde_json::from_str(STEP).unwrap();
        let step = StepLine { metrics, smoothed_loss: Some(5.75), mfu: Some(0.25) };
        let valid = ValidLine { step: 1, tokens: 64, valid_loss: 5.25, valid_tokens: 20 };
        let found = read(&format!("{}\n{}\n", json!(step), json!(valid))).unwrap();
        assert_eq!(found, History { steps: vec![step], valid: vec![valid] });
        assert_eq!((found.best(), found.valid_curve()), (Some(&valid), vec![(64.0, 5.25)]));
    }

    #[test]
    fn a_validation_without_tokens_has_those_of_its_step() {
        assert_eq!(read(&format!("{STEP}\n{VALID}\n")).unwrap().valid[0].tokens, 64);
    }

    #[test]
    fn what_is_no_number_is_nan() {
        let found = read(&format!("{}\n", STEP.replace("5.5", "null").replace("2.0", "null"))).unwrap();
        assert!(found.steps[0].metrics.loss.is_nan() && found.steps[0].metrics.grad_norm.is_nan());
    }

    #[test]
    fn a_broken_line_is_named_unless_it_is_the_unfinished_last() {
        assert_eq!(read(&format!("{STEP}\n{}", &VALID[..20])).unwrap().steps.len(), 1);
        for (text, part) in [
            (format!("{STEP}\n{}\n", &VALID[..20]), "line 2: control character"),
            (format!("{}\n{STEP}\n", &VALID[..20]), "line 1: control character"),
            (format!("{STEP}\n{STEP}\n"), "line 2: step 1 after step 1"),
            (format!("{VALID}\n{VALID}\n"), "line 2: step 1 after step 1"),
            ("{\"step\":1}\n".into(), "line 1: missing field"),
            ("[]\n".into(), "line 1: "),
            ("{\"step\":-1,\"valid_loss\":1,\"valid_tokens\":1}\n".into(), "line 1: invalid value"),
        ] {
            let message = read(&text).unwrap_err().to_string();
            assert!(message.contains("metrics.jsonl, ") && message.contains(part), "{message}");
        }
        assert!(History::read(Path::new("no/metrics.jsonl")).unwrap_err().to_string().contains("no/metrics.jsonl"));
    }
}
