use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use contextlm_core::{Backbone, ContextLm, ContextLmConfig, ModulePath, TensorLayout};

use crate::WeightsError;
use crate::files::{ModelFiles, open_file};
use crate::plan::{Source, plan};
use crate::values::{read, read_transposed};

/// Configs are a few hundred lines.
const MAX_CONFIG: u64 = 10_000_000;

/// What a model directory held.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The model. A plain Hugging Face directory gives a plain backbone.
    pub model: ContextLm,
    /// Its config.
    pub config: ContextLmConfig,
}

/// Reads a model directory.
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it.
pub fn load(dir: impl AsRef<Path>, device: &Device) -> Result<Loaded, WeightsError> {
    let dir = dir.as_ref();
    let path = dir.join("config.json");
    open_file(&path, MAX_CONFIG)?;
    let config = ContextLmConfig::from_file(&path)?;
    config.validate()?;
    let files = ModelFiles::open(dir)?;

    // A block is an allocation before it has weights, and a config can ask for any number of them.
    let predictor = config.context.as_ref().map_or(0, |context| context.predictor_layers);
    let (layers, tensors) = (config.backbone.layers().saturating_add(predictor), files.tensors.len());
    if layers > tensors {
        return Err(WeightsError::Layers { path, layers, tensors });
    }
    let model = fill(config.init(device)?, &files, dir)?;
    Ok(Loaded { model, config })
}

/// Replaces every parameter of a model by the one in a directory's files; the directory's config is not read. A
/// custom backbone's parameters are stored under their paths, see [`Backbone::tensor_names`].
///
/// Parameters keep their device, their ids and whether they require gradients. Those that have not been used yet are
/// never drawn.
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it.
pub fn load_into<B: Backbone>(model: ContextLm<B>, dir: impl AsRef<Path>) -> Result<ContextLm<B>, WeightsError> {
    let dir = dir.as_ref();
    fill(model, &ModelFiles::open(dir)?, dir)
}

fn fill<B: Backbone>(model: ContextLm<B>, files: &ModelFiles, dir: &Path) -> Result<ContextLm<B>, WeightsError> {
    let sources = plan(&model, files, dir)?;
    let mut filler = Filler { sources, files, dir, path: ModulePath::default(), error: None };
    let model = model.map(&mut filler);
    filler.error.map_or(Ok(model), Err)
}

/// Walks through a model and reads parameter after parameter.
struct Filler<'a> {
    sources: HashMap<String, Source>,
    files: &'a ModelFiles,
    dir: &'a Path,
    path: ModulePath,
    error: Option<WeightsError>,
}

impl ModuleMapper for Filler<'_> {
    fn map_float<const R: usize>(&mut self, param: Param<Tensor<R>>) -> Param<Tensor<R>> {
        let Some(source) = self.sources.remove(&self.path.path()).filter(|_| self.error.is_none()) else {
            return param;
        };
        let (name, file) = &self.files.files[source.file];
        let values = match (source.layout, &source.stored.shape[..]) {
            (TensorLayout::Transposed, &[rows, columns]) => read_transposed(file, &source.stored, rows, columns),
            _ => read(file, &source.stored),
        };
        match values {
            Ok(values) => {
                let data = TensorData::new(values, param.lazy_shape());
                let tensor = Tensor::from_data(data, &param.lazy_device());
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.error = Some(WeightsError::io(&self.dir.join(name))(error));
                param
            }
        }
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }
}
