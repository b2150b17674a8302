use std::fs;
use std::path::Path;

use contextlm_core::Parameters;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{TrainError, Versions};

/// What a run trains and what with: `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Numbers of parameters.
    pub parameters: RunParameters,
    /// Arithmetic of forward and backward for one token, three times that of the forward pass; `None` where the backbone
    /// does not tell.
    pub training_flops_per_token: Option<u64>,
    /// What is validated on, if anything is.
    pub validation: Option<ValidationSet>,
    /// Every time that the run was begun or gone on with.
    pub sessions: Vec<RunSession>,
}

/// Numbers of parameters by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunParameters {
    /// The plain backbone.
    pub backbone: usize,
    /// Initial context, pooling, predictor and fusion.
    pub context: usize,
    /// Both.
    pub total: usize,
}

impl From<Parameters> for RunParameters {
    fn from(Parameters { backbone, context, total }: Parameters) -> Self {
        Self { backbone, context, total }
    }
}

/// The text that a run is validated on: losses on others cannot be compared with its losses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationSet {
    /// Scored tokens.
    pub tokens: usize,
    /// Digest of all tokens, each as four bytes, lowest first.
    pub sha256: String,
}

impl ValidationSet {
    /// The set of these tokens, all but the first of which are scored.
    pub(crate) fn of(tokens: &[u32]) -> Self {
        let mut digest = Sha256::new();
        for token in tokens {
            digest.update(token.to_le_bytes());
        }
        let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { tokens: tokens.len().saturating_sub(1), sha256 }
    }
}

/// One process that trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSession {
    /// Steps that were made before it.
    pub from_step: usize,
    /// The device by the name of the config.
    pub device: String,
    /// The device as it names itself; `None` where it does not.
    pub hardware: Option<String>,
    /// Operations a second that the device is said to make at most, what MFU is a share of; `None` where that is not known.
    pub peak_flops: Option<f64>,
    /// What it was made with.
    pub versions: Versions,
}

impl About {
    /// Reads `run.json`; `None` where there is no such file.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, TrainError> {
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(path).map_err(TrainError::io(path))?;
        let found = serde_json::from_str(&text);
        let broken = |error: serde_json::Error| TrainError::Metrics {
            path: path.into(),
            line: error.line(),
            reason: format!("{error}; delete the file to go on without it"),
        };
        Ok(Some(found.map_err(broken)?))
    }

    /// Writes `run.json`, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<(), TrainError> {
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from).map_err(TrainError::io(path))?;
        let partial = path.with_extension("partial");
        fs::write(&partial, text + "\n").and_then(|()| fs::rename(&partial, path)).map_err(TrainError::io(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        assert_eq!(About::read(&path).unwrap(), None);
        let session = RunSession {
            from_step: 3,
            device: "cpu".into(),
            hardware: None,
            peak_flops: Some(0.1),
            versions: Versions::current(),
        };
        let about = About {
            parameters: RunParameters { backbone: 1, context: 2, total: 3 },
            training_flops_per_token: Some(4),
            validation: Some(ValidationSet::of(&[1, 2, 300])),
            sessions: vec![session],
        };
        about.write(&path).unwrap();
        assert_eq!(About::read(&path).unwrap(), Some(about));
        fs::write(&path, "{\n\"parameters\": 3").unwrap();
        let message = About::read(&path).unwrap_err().to_string();
        assert!(message.contains("run.json, line 2") && message.contains("delete"), "{message}");
    }

    #[test]
    fn a_set_is_known_by_its_tokens() {
        // printf '\1\0\0\0\2\0\0\0\54\1\0\0' | sha256sum
        let found = ValidationSet::of(&[1, 2, 300]);
        assert_eq!(found.tokens, 2);
        assert_eq!(found.sha256, "ec23a88fb0aa4b38d5442523720f6576ba6310212cb39a86e9b71f42741f74f8");
        assert_ne!(found, ValidationSet::of(&[1, 2, 301]));
    }
}
