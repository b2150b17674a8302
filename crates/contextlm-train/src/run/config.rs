use std::fs;
use std::path::Path;

use contextlm_core::{Backbone, ContextConfig, ContextLm, ContextLmConfig, Device};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::has_weights;
use super::keys::{check, remove_alternatives};
use super::tables::{CheckpointTable, DataTable, EvalTable, LogTable, ModelTable, TrainTable};
use crate::freeze::frozen;
use crate::memory::Step;
use crate::{
    DecayGroups, GuardConfig, LossConfig, MemoryEstimate, OptimizerConfig, ScheduleConfig, TrainConfig, TrainError,
};

/// A training config, as `contextlm train` reads it from TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// What is trained.
    pub model: ModelTable,
    /// What it is trained on.
    pub data: DataTable,
    /// For how long, and on what.
    pub train: TrainTable,
    /// What is kept.
    pub checkpoint: CheckpointTable,
    /// Validation.
    #[serde(default)]
    pub eval: EvalTable,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// The learning rate over the steps.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// What is added to the cross-entropy.
    #[serde(default)]
    pub loss: LossConfig,
    /// What to do with a step whose loss is out of line.
    #[serde(default)]
    pub guard: GuardConfig,
    /// What is told of the run.
    #[serde(default)]
    pub log: LogTable,
}

impl RunConfig {
    /// Reads a TOML file, in which `set` replaces values: `table.key=value` each.
    ///
    /// # Errors
    /// [`TrainError::ConfigFile`] naming the file, the key and the fix.
    pub fn from_file(path: impl AsRef<Path>, set: &[String]) -> Result<Self, TrainError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(TrainError::io(path))?;
        Self::from_toml(&text, set).map_err(|reason| TrainError::ConfigFile { path: path.into(), reason })
    }

    fn from_toml(text: &str, set: &[String]) -> Result<Self, String> {
        let in_a_line = |error: toml::de::Error| error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        let mut tables: toml::Table = toml::from_str(text).map_err(in_a_line)?;
        for pair in set {
            let parts = pair.split_once('=').and_then(|(key, value)| Some((key.trim().split_once('.')?, value.trim())));
            let Some(((table, key), value)) = parts else {
                return Err(format!("--set {pair}: must be table.key=value"));
            };
            remove_alternatives(&mut tables, table, key, set);
            // What is no TOML is a word.
            let value = toml::from_str::<toml::Table>(&format!("value = {value}"))
                .ok()
                .and_then(|mut table| table.remove("value"))
                .unwrap_or_else(|| toml::Value::String(value.into()));
            // model.context.chunk_size is a key of a table in a table.
            let mut place = tables.entry(table).or_insert_with(|| toml::Table::new().into());
            for part in key.split('.').collect::<Vec<_>>().iter().rev().skip(1).rev() {
                let inner = place.as_table_mut().ok_or_else(|| format!("--set {pair}: {table} is no table"))?;
                place = inner.entry(*part).or_insert_with(|| toml::Table::new().into());
            }
            let last = key.rsplit('.').next().unwrap_or(key);
            place.as_table_mut().ok_or_else(|| format!("--set {pair}: {key} is no table"))?.insert(last.into(), value);
        }
        check(&tables)?;
        tables.try_into().map_err(in_a_line)
    }

    /// The config as TOML, every setting written out.
    pub(super) fn to_toml(&self) -> Result<String, TrainError> {
        toml::to_string(self).map_err(|error| TrainError::config("config", "", &error.to_string()))
    }

    /// The settings of a `config.toml` that the result depends on: all but where a run is kept, what is told of it, and where
    /// it is computed. A key that an earlier version did not write has its default.
    pub(crate) fn decisive(text: &str) -> Value {
        let filled = Self::from_toml(text, &[]).ok().and_then(|config| config.to_toml().ok());
        let mut settings = toml::from_str(filled.as_deref().unwrap_or(text)).unwrap_or(Value::Null);
        if let Value::Object(tables) = &mut settings {
            tables.remove("checkpoint");
            tables.remove("log");
            if let Some(train) = tables.get_mut("train").and_then(Value::as_object_mut) {
                train.remove("device");
            }
        }
        settings
    }

    /// The runs that this config asks for: itself, or one for each of `train.seeds`, in `checkpoint.dir/seed-N`.
    ///
    /// # Errors
    /// [`TrainError::Config`] for a wrong setting, and where `train.seeds` has a seed twice or stands beside `train.seed`.
    pub fn runs(&self) -> Result<Vec<Self>, TrainError> {
        let seeds = &self.train.seeds;
        if seeds.is_empty() {
            self.validate()?;
            return Ok(vec![self.clone()]);
        }
        if self.train.seed != 0 {
            return Err(TrainError::config("train.seed", self.train.seed, "give this or train.seeds, not both"));
        }
        let twice = seeds.iter().enumerate().find(|(n, seed)| seeds[..*n].contains(seed));
        if let Some((_, seed)) = twice {
            return Err(TrainError::config("train.seeds", seed, "is there twice; give every seed once"));
        }
        let run = |&seed: &u64| {
            let mut run = self.clone();
            (run.train.seed, run.train.seeds) = (seed, Vec::new());
            run.checkpoint.dir.push(format!("seed-{seed}"));
            run
        };
        let runs: Vec<_> = seeds.iter().map(run).collect();
        runs.iter().try_for_each(Self::validate)?;
        Ok(runs)
    }

    /// Checks that the model has a position for every token of a row.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming `data.sequence_length`.
    pub fn check_length(&self, positions: usize) -> Result<(), TrainError> {
        let length = self.data.sequence_length;
        if length > positions {
            let fix = format!("must be at most the model's positions, {positions}");
            return Err(TrainError::config("data.sequence_length", length, &fix));
        }
        Ok(())
    }

    pub(super) fn validate(&self) -> Result<(), TrainError> {
        if !self.train.seeds.is_empty() {
            let fix = "one run has one train.seed; RunConfig::runs gives the runs of a config";
            return Err(TrainError::config("train.seeds", format!("{:?}", self.train.seeds), fix));
        }
        if self.data.sequence_length == 0 {
            return Err(TrainError::config("data.sequence_length", 0, "must be at least 1"));
        }
        if self.eval.tokens == 0 {
            return Err(TrainError::config("eval.tokens", 0, "must be at least 1"));
        }
        if self.checkpoint.keep == 0 {
            return Err(TrainError::config("checkpoint.keep", 0, "must be at least 1"));
        }
        self.log.validate()?;
        self.training()?.validate()
    }

    /// Rows of a batch.
    ///
    /// # Errors
    /// [`TrainError::Config`] where `batch_tokens` is no multiple of `micro_batch` times `sequence_length`.
    pub fn rows(&self) -> Result<usize, TrainError> {
        let (batch, length) = (self.train.batch_tokens, self.data.sequence_length);
        let unit = self.train.micro_batch.unwrap_or(1).saturating_mul(length);
        if batch == 0 || unit == 0 || !batch.is_multiple_of(unit) {
            let fix = format!("must be a multiple of micro_batch x sequence_length, {unit}");
            return Err(TrainError::config("train.batch_tokens", batch, &fix));
        }
        Ok(batch / length)
    }

    /// The settings of the trainer.
    ///
    /// # Errors
    /// [`TrainError::Config`] where not exactly one of `steps` and `tokens` is given.
    pub fn training(&self) -> Result<TrainConfig, TrainError> {
        let batch = self.train.batch_tokens.max(1) as u64;
        let steps = match (self.train.steps, self.train.tokens) {
            (Some(steps), None) => steps,
            (None, Some(tokens)) => usize::try_from(tokens.div_ceil(batch)).unwrap_or(usize::MAX),
            (steps, _) => {
                let found = if steps.is_some() { "with train.tokens" } else { "missing" };
                return Err(TrainError::config("train.steps", found, "give one of train.steps and train.tokens"));
            }
        };
        Ok(TrainConfig {
            steps,
            micro_batch: self.train.micro_batch,
            eval_every: 0,
            seed: self.train.seed,
            freeze: self.train.freeze.clone(),
            guard: self.guard,
            dtype: self.train.dtype,
            optimizer: self.optimizer,
            schedule: self.schedule,
            loss: self.loss,
        })
    }

    /// The config of the model; nothing of any size is allocated on the device.
    ///
    /// # Errors
    /// [`TrainError::Config`] where not exactly one of `preset`, `path` and `backbone` is given; those of the model's config.
    pub fn model_config(&self, device: &Device) -> Result<ContextLmConfig, TrainError> {
        let ModelTable { preset, path, backbone, context } = &self.model;
        let config = match (preset, path, backbone) {
            (Some(preset), None, None) => ContextLmConfig::preset(preset)?,
            (None, Some(dir), None) => ContextLmConfig::from_file(dir.join("config.json"))?,
            (None, None, Some(backbone)) => ContextLmConfig::from_json(&Value::Object(backbone.clone()))?,
            _ => {
                let fix = "give exactly one of preset, path and backbone";
                return Err(TrainError::config("model", "not one model", fix));
            }
        };
        let Some(table) = context else {
            config.validate()?;
            return Ok(config);
        };
        if config.context.is_some() {
            return Err(TrainError::config("model.context", "a table", "the model has context settings already"));
        }
        let retrofit = path.as_ref().is_some_and(|dir| has_weights(dir));
        let base = if retrofit {
            // Nothing is drawn: only the shape of the model is asked for.
            let backbone = config.init(device)?.backbone;
            ContextConfig::for_retrofit(&backbone.spec())
        } else {
            ContextConfig::default()
        };
        let mut all = match json!(base) {
            Value::Object(all) => all,
            _ => Map::new(),
        };
        // Not chosen yet: it follows from the backbone.
        all.retain(|_, value| !value.is_null());
        all.extend(table.clone());
        let config = config.with_context(ContextConfig::from_json(&all)?);
        config.validate()?;
        Ok(config)
    }

    /// Tensors and parameters with and without weight decay, frozen ones left out; no parameter gets a value by asking.
    ///
    /// # Errors
    /// [`TrainError::Config`] for a pattern of `train.freeze` that matches nothing.
    pub fn decay_groups<B: Backbone>(&self, model: &ContextLm<B>) -> Result<DecayGroups, TrainError> {
        let tensors = model.tensors();
        let frozen = frozen(&tensors, &self.train.freeze)?;
        let mut groups = DecayGroups::default();
        for tensor in tensors.iter().filter(|tensor| !frozen.contains(&tensor.path)) {
            groups.add(tensor.shape.len(), tensor.shape.iter().product());
        }
        Ok(groups)
    }

    /// What a step of this config holds in memory at least, with the model of [`model_config`](Self::model_config).
    ///
    /// # Errors
    /// Those of [`rows`](Self::rows).
    pub fn memory<B: Backbone>(&self, model: &ContextLm<B>) -> Result<MemoryEstimate, TrainError> {
        let rows = self.rows()?;
        let at_once = self.train.micro_batch.unwrap_or(rows).min(rows);
        let step = Step {
            dtype: self.train.dtype,
            optimizer: self.optimizer.name,
            rows: at_once,
            length: self.data.sequence_length,
            accumulates: at_once < rows,
            checkpoints: self.train.gradient_checkpointing,
        };
        Ok(MemoryEstimate::of(model, step))
    }
}
