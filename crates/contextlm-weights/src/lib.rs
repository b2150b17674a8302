//! Reads and writes model directories: a plain Hugging Face one (GPT-2, GPT-NeoX/Pythia, Llama,
//! Mistral, Qwen2), or a ContextLM's own.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = contextlm_device::device("cpu")?;
//! let loaded = contextlm_weights::load("pythia-410m", &device)?;
//! println!("{} parameters", loaded.model.parameters().total);
//! # Ok(())
//! # }
//! ```
//!
//! A directory has `config.json` and `model.safetensors`, or shards of it and `model.safetensors.index.json`.
//! Reading is strict: every tensor of the model must be there in its shape, and nothing that the model has no use
//! for, but buffers that old files are known to carry. Whatever is wrong is reported at once. Files hold f32, f16
//! or bf16; parameters are f32 in memory unless [`LoadOptions::dtype`] says otherwise.
//!
//! Files are not trusted: sizes and offsets are checked against the file's length before anything is reserved for
//! them. They are read a piece at a time, so that the memory needed beside the model is at most that of two copies of the
//! largest tensor and 50 MB. They are not mapped into memory: that needs `unsafe`, and a file that another program shortens
//! would end the process.
//!
//! [`save`] writes such a directory, whole or not at all. A plain checkpoint that becomes a ContextLM, which starts out equal
//! to it:
//!
//! ```no_run
//! use contextlm_core::{Backbone, ContextConfig, ContextLm};
//! use contextlm_weights::{SaveOptions, load, save};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = contextlm_device::device("cpu")?;
//! let plain = load("pythia-410m", &device)?;
//! let context = ContextConfig::for_retrofit(&plain.model.backbone.spec());
//! let model = ContextLm::retrofit(plain.model, context.clone(), 0, &device)?;
//! save(&model, &plain.config.with_context(context), "contextlm-410m", &SaveOptions::default())?;
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `hub`, [`hub::find`](https://docs.rs/contextlm-weights/latest/contextlm_weights/hub/fn.find.html) turns
//! a model's name on the Hugging Face hub into such a directory; `hub::find_dataset` fetches files of a data set.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod files;
mod float_type;
mod header;
#[cfg(feature = "hub")]
pub mod hub;
mod index;
mod key_map;
mod load;
mod plan;
mod save;
mod unique;
mod value;
mod values;

pub use error::{Problem, WeightsError};
pub use float_type::FloatType;
pub use key_map::KeyMap;
pub use load::{LoadOptions, Loaded, load, load_into, load_with, read_config};
pub use save::{ModelCard, SaveOptions, save, save_tensors};
