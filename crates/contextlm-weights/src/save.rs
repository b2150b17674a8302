//! Writing model directories.

mod card;
mod layout;
mod python;
mod replace;
mod write;

use std::fs;
use std::path::{Path, PathBuf};

use contextlm_core::files::read_file;
use contextlm_core::{Backbone, ContextLm, ContextLmConfig};
use serde_json::{Value, json};

pub use card::ModelCard;

use crate::files::stays_inside;
use crate::save::layout::{Shard, shards};
use crate::save::replace::Replacement;
use crate::save::write::write_shards;
use crate::{FloatType, WeightsError};

/// Files beside config and weights that belong to a model: its tokenizer, and how it generates.
const COMPANIONS: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "vocab.json",
    "merges.txt",
];

/// Many times the largest tokenizer.
const MAX_COMPANION: u64 = 500_000_000;

/// How a model directory is written.
#[derive(Debug, Clone, PartialEq)]
pub struct SaveOptions {
    /// Type of the values in the files. Default: f32.
    pub dtype: FloatType,
    /// Bytes of tensors in one file, as far as tensors can be parted. Default: 5 GB, as `transformers` has it.
    pub max_shard_bytes: u64,
    /// Whether a model directory that is there is replaced, with all that is in it. Default: no, it is an error; so is one that
    /// is not empty and has no model, or that has `companions` in it.
    pub overwrite: bool,
    /// Whether the Python code of a ContextLM goes along, with which `transformers` loads it. Default: no. A plain backbone
    /// needs none and gets none.
    pub with_python: bool,
    /// A model directory whose tokenizer and generation files are copied. Default: none.
    pub companions: Option<PathBuf>,
    /// What the model card says beside what the config tells.
    pub card: ModelCard,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self {
            dtype: FloatType::F32,
            max_shard_bytes: 5_000_000_000,
            overwrite: false,
            with_python: false,
            companions: None,
            card: ModelCard::default(),
        }
    }
}

/// Writes a model directory: config.json, the weights in one file or in shards with their index, a model card, and the
/// companions that are asked for. `transformers` reads that of a plain backbone, and [`load`](crate::load) gives the same
/// model again, bit by bit where the files hold f32.
///
/// The directory appears whole or not at all: everything is written beside it first, under a name of its own, and a
/// directory that it replaces stays until then. Tensors are written one after another, so that the memory needed beside the
/// model is that of two copies of the largest one. Returns the names of the files.
///
/// # Errors
/// [`WeightsError::File`] naming what cannot be written, or the directory that is there already.
pub fn save(
    model: &ContextLm,
    config: &ContextLmConfig,
    dir: impl AsRef<Path>,
    options: &SaveOptions,
) -> Result<Vec<String>, WeightsError> {
    let mut config = config.to_json();
    set_dtype(&mut config, options.dtype);
    let python = options.with_python && model.context.is_some();
    if python {
        config["auto_map"] = python::auto_map();
    }
    let card = options.card.text(model, &config);
    save_files(model, dir.as_ref(), options, &write::create_file, |folder| {
        write_file(folder, "config.json", format!("{config:#}\n").as_bytes())?;
        for (name, text) in python::FILES.into_iter().filter(|_| python) {
            write_file(folder, name, text.as_bytes())?;
        }
        write_file(folder, "README.md", card.as_bytes())
    })
}

/// The same without config.json and model card, for a model on a backbone of one's own; [`load_into`](crate::load_into)
/// reads it.
///
/// # Errors
/// As [`save`].
pub fn save_tensors<B: Backbone>(
    model: &ContextLm<B>,
    dir: impl AsRef<Path>,
    options: &SaveOptions,
) -> Result<Vec<String>, WeightsError> {
    save_files(model, dir.as_ref(), options, &write::create_file, |_| Ok(()))
}

/// Writes everything into a folder beside `dir`, which then takes its place.
fn save_files<B: Backbone>(
    model: &ContextLm<B>,
    dir: &Path,
    options: &SaveOptions,
    create: &write::Create,
    others: impl Fn(&Path) -> Result<(), WeightsError>,
) -> Result<Vec<String>, WeightsError> {
    let replacement = Replacement::begin(dir, options.overwrite, options.companions.as_deref())?;
    let folder = replacement.folder();
    others(folder)?;
    if let Some(from) = &options.companions {
        copy_companions(from, folder)?;
    }
    let shards = shards(model.tensors(), options.dtype, options.max_shard_bytes);
    write_shards(model, &shards, options.dtype, folder, create)?;
    if shards.len() > 1 {
        write_file(folder, "model.safetensors.index.json", index(&shards).to_string().as_bytes())?;
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(WeightsError::io(folder))? {
        files.push(entry.map_err(WeightsError::io(folder))?.file_name().to_string_lossy().into_owned());
    }
    files.sort();
    replacement.finish()?;
    Ok(files)
}

/// Which tensor is in which shard, as `transformers` writes it.
fn index(shards: &[Shard]) -> Value {
    let total: u64 = shards.iter().map(Shard::bytes).sum();
    let places = shards.iter().flat_map(|shard| shard.tensors.iter().map(|tensor| (&tensor.name, &shard.file)));
    let map: serde_json::Map<String, Value> = places.map(|(name, file)| (name.clone(), json!(file))).collect();
    json!({ "metadata": { "total_size": total }, "weight_map": map })
}

/// Where a config says of which type its values are, it says so of the values that are written.
fn set_dtype(config: &mut Value, dtype: FloatType) {
    for key in ["dtype", "torch_dtype"] {
        for table in ["", "/backbone"] {
            if let Some(found) = config.pointer_mut(table).and_then(|table| table.get_mut(key)) {
                *found = json!(dtype.name());
            }
        }
    }
}

fn copy_companions(from: &Path, folder: &Path) -> Result<(), WeightsError> {
    for name in COMPANIONS {
        let source = from.join(name);
        if source.is_file() {
            // What is written is for others to read, and a link could lead to what is not.
            stays_inside(from, &source)?;
            let bytes = read_file(&source, MAX_COMPANION).map_err(WeightsError::io(&source))?;
            write_file(folder, name, &bytes)?;
        }
    }
    Ok(())
}

fn write_file(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), WeightsError> {
    let path = folder.join(name);
    write::create_file(&path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.finish()))
        .map_err(WeightsError::io(&path))
}

#[cfg(test)]
mod tests;
