//! What runs were made with: those of a group differ in their seeds alone.

use serde_json::{Value, json};

use crate::checkpoint::differing_keys;
use crate::record::CONFIG;
use crate::{RunConfig, RunRecord, TrainError};

/// The `config.toml` of a run.
pub(super) struct Settings {
    all: Value,
    /// What the result depends on.
    decisive: Value,
}

impl Settings {
    /// `None` where the run has no such file.
    pub(super) fn of(run: &RunRecord) -> Result<Option<Self>, TrainError> {
        let Some(text) = &run.config else { return Ok(None) };
        let in_a_line = |error: toml::de::Error| error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        let wrong = |reason| TrainError::ConfigFile { path: run.dir.join(CONFIG), reason };
        let all = toml::from_str(text).map_err(in_a_line).map_err(wrong)?;
        Ok(Some(Self { all, decisive: RunConfig::decisive(text) }))
    }

    fn seed(&self) -> Option<u64> {
        self.all["train"]["seed"].as_u64()
    }

    /// All that the result depends on, but for the seed.
    fn without_seed(&self) -> Value {
        let mut settings = self.decisive.clone();
        if let Some(train) = settings.get_mut("train").and_then(Value::as_object_mut) {
            train.remove("seed");
        }
        settings
    }

    /// How the rows of another run's validation are other ones.
    pub(super) fn other_rows(&self, other: &Self) -> Option<String> {
        [("sequence_length", Value::Null), ("packing", json!(false))].into_iter().find_map(|(key, default)| {
            let value = |settings: &Self| settings.all["data"].get(key).unwrap_or(&default).clone();
            let (before, here) = (value(self), value(other));
            (before != here).then(|| format!("data.{key} = {here}, not with {before}"))
        })
    }
}

/// Why runs are no group of seeds, if they are none. Runs without a `config.toml` are told apart by their directories alone.
pub(super) fn one_a_seed(runs: &[RunRecord]) -> Result<Option<String>, TrainError> {
    let place = |run: &RunRecord| run.dir.canonicalize().unwrap_or_else(|_| run.dir.clone());
    let all = runs.iter().map(Settings::of).collect::<Result<Vec<_>, _>>()?;
    for (index, (run, here)) in runs.iter().zip(&all).enumerate() {
        let dir = run.dir.display();
        for (other, before) in runs.iter().zip(&all).take(index) {
            let first = other.dir.display();
            if place(run) == place(other) {
                return Ok(Some(format!("{dir} is there twice")));
            }
            let (Some(before), Some(here)) = (before, here) else { continue };
            if let Some(seed) = here.seed().filter(|seed| before.seed() == Some(*seed)) {
                return Ok(Some(format!("{first} and {dir} both have train.seed = {seed}: give every seed once")));
            }
            let keys = differing_keys(&before.without_seed(), &here.without_seed());
            if !keys.is_empty() {
                let keys = keys.join(", ");
                return Ok(Some(format!("{first} and {dir} differ in {keys}: a group differs in its seeds alone")));
            }
        }
    }
    Ok(None)
}
