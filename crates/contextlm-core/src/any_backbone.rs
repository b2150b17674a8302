use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use contextlm_backbone::{
    Backbone, BackboneError, BackboneFlops, BackboneSpec, Block, Gpt2, Gpt2Config, GptNeoX, GptNeoXConfig, Init,
    KvCache, Llama, LlamaConfig, Positions, TensorNames,
};
use serde_json::{Map, Value};

use crate::ContextLmError;

/// The config of a backbone that comes with ContextLM, told apart by Hugging Face's `model_type`.
#[derive(Debug, Clone, PartialEq)]
pub enum BackboneConfig {
    /// `gpt2`.
    Gpt2(Gpt2Config),
    /// `gpt_neox`: Pythia.
    GptNeoX(GptNeoXConfig),
    /// `llama`, `mistral` and `qwen2`.
    Llama(LlamaConfig),
}

impl BackboneConfig {
    /// Reads a Hugging Face config. Keys that are not used are kept.
    ///
    /// # Errors
    /// [`ContextLmError::ModelType`] for other models, [`ContextLmError::Json`] for a value of the wrong kind.
    pub fn from_json(table: &Map<String, Value>) -> Result<Self, ContextLmError> {
        let mut rest = table.clone();
        let name = match rest.remove("model_type") {
            Some(Value::String(name)) => name,
            other => return Err(ContextLmError::ModelType { found: other.unwrap_or_default().to_string() }),
        };
        let parsed = match name.as_str() {
            "gpt2" => serde_json::from_value(Value::Object(rest)).map(Self::Gpt2),
            "gpt_neox" => serde_json::from_value(Value::Object(rest)).map(Self::GptNeoX),
            "llama" | "mistral" | "qwen2" => LlamaConfig::from_json(table).map(Self::Llama),
            _ => return Err(ContextLmError::ModelType { found: name }),
        };
        parsed.map_err(|error| ContextLmError::Json { what: format!("{name} config"), fix: error.to_string() })
    }

    /// The config as Hugging Face writes it, `model_type` included.
    pub fn to_json(&self) -> Map<String, Value> {
        let (name, value) = match self {
            Self::Gpt2(config) => ("gpt2", serde_json::to_value(config)),
            Self::GptNeoX(config) => ("gpt_neox", serde_json::to_value(config)),
            Self::Llama(config) => (config.model_type.model_type(), serde_json::to_value(config)),
        };
        let mut table = match value {
            Ok(Value::Object(table)) => table,
            _ => Map::new(),
        };
        table.insert("model_type".into(), name.into());
        table
    }

    /// Checks the config.
    ///
    /// # Errors
    /// [`BackboneError`] naming the key.
    pub fn validate(&self) -> Result<(), BackboneError> {
        match self {
            Self::Gpt2(config) => config.validate(),
            Self::GptNeoX(config) => config.validate(),
            Self::Llama(config) => config.validate(),
        }
    }

    /// A backbone with fresh weights.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn init(&self, init: &Init, device: &Device) -> Result<AnyBackbone, BackboneError> {
        Ok(match self {
            Self::Gpt2(config) => AnyBackbone::Gpt2(config.init(init, device)?),
            Self::GptNeoX(config) => AnyBackbone::GptNeoX(config.init(init, device)?),
            Self::Llama(config) => AnyBackbone::Llama(config.init(init, device)?),
        })
    }

    /// The same model with another number of layers; for controls of equal parameters.
    pub fn with_layers(mut self, layers: usize) -> Self {
        match &mut self {
            Self::Gpt2(config) => config.n_layer = layers,
            Self::GptNeoX(config) => config.num_hidden_layers = layers,
            Self::Llama(config) => config.num_hidden_layers = layers,
        }
        self
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        match self {
            Self::Gpt2(config) => config.n_layer,
            Self::GptNeoX(config) => config.num_hidden_layers,
            Self::Llama(config) => config.num_hidden_layers,
        }
    }
}

/// One of the backbones that come with ContextLM, so that users of the presets write no type parameter.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // there is one backbone in a process, not a list of them
pub enum AnyBackbone {
    /// GPT-2.
    Gpt2(Gpt2),
    /// GPT-NeoX.
    GptNeoX(GptNeoX),
    /// Llama, Mistral or Qwen2.
    Llama(Llama),
}

/// Calls the same method of whichever backbone it is.
macro_rules! each {
    ($any:expr, $backbone:ident => $call:expr) => {
        match $any {
            AnyBackbone::Gpt2($backbone) => $call,
            AnyBackbone::GptNeoX($backbone) => $call,
            AnyBackbone::Llama($backbone) => $call,
        }
    };
}

impl Backbone for AnyBackbone {
    type Cache = KvCache;

    fn spec(&self) -> BackboneSpec {
        each!(self, backbone => backbone.spec())
    }

    fn embed(&self, tokens: Tensor<2, Int>, at: &Positions) -> Tensor<3> {
        each!(self, backbone => backbone.embed(tokens, at))
    }

    fn blocks(&self, x: Tensor<3>, range: Range<usize>, at: &Positions, caches: Option<&mut [KvCache]>) -> Tensor<3> {
        each!(self, backbone => backbone.blocks(x, range, at, caches))
    }

    fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        each!(self, backbone => backbone.norm(x))
    }

    fn head(&self) -> Tensor<2> {
        each!(self, backbone => backbone.head())
    }

    fn new_caches(&self, range: Range<usize>, rows: usize, capacity: usize, device: &Device) -> Option<Vec<KvCache>> {
        each!(self, backbone => backbone.new_caches(range, rows, capacity, device))
    }

    fn supports_extra_entries(&self) -> bool {
        each!(self, backbone => backbone.supports_extra_entries())
    }

    fn flops(&self, attended: usize) -> Option<BackboneFlops> {
        each!(self, backbone => backbone.flops(attended))
    }

    fn own_blocks(&self) -> Option<&[Block]> {
        each!(self, backbone => backbone.own_blocks())
    }

    fn tensor_names(&self) -> Option<&'static TensorNames> {
        each!(self, backbone => backbone.tensor_names())
    }
}
