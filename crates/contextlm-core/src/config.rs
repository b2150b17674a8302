use std::path::Path;

use burn::tensor::Device;
use contextlm_backbone::{Gpt2Config, GptNeoXConfig, Init};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::context_config::is_nearly;
use crate::files::{MAX_CONFIG, read_file};
use crate::limit::check_size;
use crate::{BackboneConfig, ContextConfig, ContextLm, ContextLmError};

/// A model: a backbone, and the context settings that make a ContextLM of it. Without them it is the plain
/// backbone, so that a baseline is one setting and never another program.
///
/// As JSON it is the `config.json` of a model directory: either a ContextLM's, or a plain Hugging Face one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct ContextLmConfig {
    /// The backbone's own config.
    pub backbone: BackboneConfig,
    /// Context settings; `None` is the plain backbone.
    pub context: Option<ContextConfig>,
    /// Top-level keys of `config.json` that are not used here.
    pub other: Map<String, Value>,
}

impl ContextLmConfig {
    /// A plain backbone.
    pub fn new(backbone: BackboneConfig) -> Self {
        Self { backbone, context: None, other: Map::new() }
    }

    /// A published backbone by its name (`gpt2` ... `gpt2-xl`, `pythia-14m` ... `pythia-1.4b`), plain.
    ///
    /// # Errors
    /// [`ContextLmError::UnknownPreset`] listing all names.
    pub fn preset(name: &str) -> Result<Self, ContextLmError> {
        let gpt2 = Gpt2Config::preset(name).map(BackboneConfig::Gpt2);
        let neox = || GptNeoXConfig::preset(name).map(BackboneConfig::GptNeoX);
        match gpt2.or_else(neox) {
            Some(backbone) => Ok(Self::new(backbone)),
            None => Err(ContextLmError::UnknownPreset { name: name.into(), known: Self::presets().join(", ") }),
        }
    }

    /// Names of all presets.
    pub fn presets() -> Vec<&'static str> {
        Gpt2Config::PRESETS.into_iter().chain(GptNeoXConfig::PRESETS).collect()
    }

    /// This backbone with context settings.
    pub fn with_context(self, context: ContextConfig) -> Self {
        Self { context: Some(context), ..self }
    }

    /// This backbone with [`ContextConfig::measured`].
    pub fn with_default_context(self) -> Self {
        self.with_context(ContextConfig::measured())
    }

    /// The plain backbone of this model.
    pub fn plain(self) -> Self {
        Self { context: None, ..self }
    }

    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`ContextLmError::File`] if it cannot be read or is no file of at most 10 MB, else as [`from_json`](Self::from_json).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ContextLmError> {
        let path = path.as_ref();
        let file = |reason: String| ContextLmError::File { path: path.into(), reason };
        let bytes = read_file(path, MAX_CONFIG).map_err(|error| file(error.to_string()))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| file(error.to_string()))?;
        Self::from_json(&value).map_err(|error| file(error.to_string()))
    }

    /// Reads the content of a `config.json` of either kind.
    ///
    /// # Errors
    /// [`ContextLmError`] naming the key that is wrong.
    pub fn from_json(config: &Value) -> Result<Self, ContextLmError> {
        let json = |what: &str, fix: &str| ContextLmError::Json { what: what.into(), fix: fix.into() };
        let mut table = config.as_object().ok_or_else(|| json("config", "must be a JSON object"))?.clone();
        if table.get("model_type") != Some(&json!("contextlm")) {
            return Ok(Self::new(BackboneConfig::from_json(&table)?));
        }
        let backbone = match table.remove("backbone") {
            Some(Value::Object(backbone)) => BackboneConfig::from_json(&backbone)?,
            _ => return Err(json("backbone", "must be a JSON object, the backbone's own config")),
        };
        let context = match table.remove("context") {
            Some(Value::Object(context)) => Some(ContextConfig::from_json(&context)?),
            None | Some(Value::Null) => None,
            Some(_) => return Err(json("context", "must be a JSON object")),
        };
        table.remove("model_type");
        table.remove("architectures");
        // A misspelt table would silently make a baseline of the model.
        if let (None, Some((key, value))) = (&context, table.iter().find(|(key, _)| is_nearly(key, "context"))) {
            return Err(ContextLmError::UnknownKey { key: key.clone(), value: value.to_string(), nearest: "context" });
        }
        Ok(Self { backbone, context, other: table })
    }

    /// The content of `config.json`, with every key of `context` written out.
    pub fn to_json(&self) -> Value {
        let Some(context) = &self.context else {
            return Value::Object(self.backbone.to_json());
        };
        let mut context = context.clone();
        if let Ok(spec) = self.spec() {
            context.predictor_positions = Some(context.positions(&spec));
        }
        let mut table = self.other.clone();
        table.insert("model_type".into(), json!("contextlm"));
        table.insert("architectures".into(), json!(["ContextLMForCausalLM"]));
        table.insert("backbone".into(), Value::Object(self.backbone.to_json()));
        table.insert("context".into(), json!(context));
        Value::Object(table)
    }

    /// Checks everything without building a model.
    ///
    /// # Errors
    /// [`ContextLmError`] naming key, value and fix.
    pub fn validate(&self) -> Result<(), ContextLmError> {
        let spec = self.spec()?;
        // Every backbone that comes with ContextLM takes extra entries.
        self.context.as_ref().map_or(Ok(()), |context| context.validate(&spec, true))?;
        check_size(&spec, self.context.as_ref())
    }

    /// A model with fresh weights from seed 0; see [`init_seeded`](Self::init_seeded).
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn init(&self, device: &Device) -> Result<ContextLm, ContextLmError> {
        self.init_seeded(0, device)
    }

    /// A model with fresh weights. The same seed gives the same values on every device, and a ContextLM starts
    /// from the same backbone as the plain model. Use `device.autodiff()` for training.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn init_seeded(&self, seed: u64, device: &Device) -> Result<ContextLm, ContextLmError> {
        self.validate()?;
        let init = Init::new(seed);
        let backbone = self.backbone.init(&init.at("backbone"), device)?;
        match &self.context {
            Some(context) => ContextLm::wrap_seeded(backbone, context.clone(), seed, device),
            None => Ok(ContextLm::plain(backbone)),
        }
    }

    fn spec(&self) -> Result<contextlm_backbone::BackboneSpec, ContextLmError> {
        use contextlm_backbone::BackboneSpec;
        self.backbone.validate()?;
        let (width, vocabulary, positions, predictor_block) = match &self.backbone {
            BackboneConfig::Gpt2(config) => (config.n_embd, config.vocab_size, config.n_positions, config.block()?),
            BackboneConfig::GptNeoX(config) => {
                (config.hidden_size, config.vocab_size, config.max_position_embeddings, config.block()?)
            }
            BackboneConfig::Llama(config) => {
                (config.hidden_size, config.vocab_size, config.max_position_embeddings, config.block()?)
            }
        };
        let sizes = BackboneSpec::new(width, self.backbone.layers(), vocabulary, positions);
        Ok(BackboneSpec { predictor_block, ..sizes })
    }
}

impl TryFrom<Value> for ContextLmConfig {
    type Error = ContextLmError;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        Self::from_json(&value)
    }
}

impl From<ContextLmConfig> for Value {
    fn from(config: ContextLmConfig) -> Self {
        config.to_json()
    }
}
