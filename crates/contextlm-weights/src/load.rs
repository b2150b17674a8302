use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use contextlm_core::files::{MAX_CONFIG, open_file};
use contextlm_core::{Backbone, ContextLm, ContextLmConfig, ModulePath, TensorLayout};
use half::{bf16, f16};

use crate::files::{ModelFiles, check_directory, has_weights};
use crate::plan::{Plan, Source, plan};
use crate::value::Value;
use crate::values::{Values, read, read_transposed};
use crate::{FloatType, KeyMap, WeightsError};

/// Every family's block has at least as many, and so has the predictor's.
const TENSORS_OF_A_BLOCK: usize = 9;

/// Layers that are built whatever the files hold, so that the error can list what is missing.
const LAYERS_OF_ANY_FILE: usize = 100;

/// How a model directory is read.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Whether tensors that the model has no use for are left alone and listed. Default: no, they are an error; buffers
    /// that files are known to carry never are.
    pub allow_unused: bool,
    /// What tensors of other programs are called here. Default: they have the names of [`Backbone::tensor_names`].
    pub key_map: Option<KeyMap>,
    /// Type of the parameters in memory, whatever the files hold. Default: f32. In bf16 and f16 the model's matrix products
    /// are of that type too, see [`ContextLm::cast`].
    pub dtype: FloatType,
}

/// What a model directory held.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The model. A plain Hugging Face directory gives a plain backbone.
    pub model: ContextLm,
    /// Its config.
    pub config: ContextLmConfig,
    /// Tensors read.
    pub tensors: usize,
    /// Names of tensors that the model has no use for, with [`LoadOptions::allow_unused`].
    pub unused: Vec<String>,
    /// Values that are infinite or no number; a model with any will hardly work.
    pub not_finite: u64,
}

/// Reads a model directory.
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it.
pub fn load(dir: impl AsRef<Path>, device: &Device) -> Result<Loaded, WeightsError> {
    load_with(dir, device, &LoadOptions::default())
}

/// Reads a model directory as the options say.
///
/// # Errors
/// As [`load`].
pub fn load_with(dir: impl AsRef<Path>, device: &Device, options: &LoadOptions) -> Result<Loaded, WeightsError> {
    let dir = dir.as_ref();
    let config = config_of(dir)?;
    let files = open(dir, options)?;
    check_layers(&config, &files, dir)?;
    let Filled { model, tensors, unused, not_finite } = fill(config.init(device)?, &files, dir, options)?;
    Ok(Loaded { model, config, tensors, unused, not_finite })
}

/// The config of a model directory, checked, and where weights are there also against their number; only the headers of
/// their files are read.
///
/// # Errors
/// [`WeightsError`] naming the file and what is wrong with it.
pub fn read_config(dir: impl AsRef<Path>) -> Result<ContextLmConfig, WeightsError> {
    let dir = dir.as_ref();
    let config = config_of(dir)?;
    if has_weights(dir) {
        check_layers(&config, &ModelFiles::open(dir)?, dir)?;
    }
    Ok(config)
}

fn config_of(dir: &Path) -> Result<ContextLmConfig, WeightsError> {
    check_directory(dir)?;
    let path = dir.join("config.json");
    open_file(&path, MAX_CONFIG).map_err(WeightsError::io(&path))?;
    let config = ContextLmConfig::from_file(&path)?;
    config.validate()?;
    Ok(config)
}

/// A block is an allocation before it has weights, and a config can ask for any number of them.
fn check_layers(config: &ContextLmConfig, files: &ModelFiles, dir: &Path) -> Result<(), WeightsError> {
    let predictor = config.context.as_ref().map_or(0, |context| context.predictor_layers);
    let (layers, tensors) = (config.backbone.layers().saturating_add(predictor), files.tensors.len());
    if layers > LAYERS_OF_ANY_FILE.max(tensors / TENSORS_OF_A_BLOCK) {
        return Err(WeightsError::Layers { path: dir.join("config.json"), layers, tensors });
    }
    Ok(())
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
    let (dir, options) = (dir.as_ref(), LoadOptions::default());
    Ok(fill(model, &open(dir, &options)?, dir, &options)?.model)
}

/// The files with the names that tensors have here.
fn open(dir: &Path, options: &LoadOptions) -> Result<ModelFiles, WeightsError> {
    let mut files = ModelFiles::open(dir)?;
    if let Some(map) = &options.key_map {
        files.tensors = map.rename(files.tensors)?;
    }
    Ok(files)
}

struct Filled<B: Backbone> {
    model: ContextLm<B>,
    tensors: usize,
    unused: Vec<String>,
    not_finite: u64,
}

fn fill<B: Backbone>(
    model: ContextLm<B>,
    files: &ModelFiles,
    dir: &Path,
    options: &LoadOptions,
) -> Result<Filled<B>, WeightsError> {
    let plan = plan(&model, files, dir, options.allow_unused)?;
    match options.dtype {
        FloatType::F32 => fill_as::<f32, B>(model, plan, files, dir),
        FloatType::Bf16 => fill_as::<bf16, B>(model, plan, files, dir),
        FloatType::F16 => fill_as::<f16, B>(model, plan, files, dir),
    }
}

fn fill_as<V: Value, B: Backbone>(
    model: ContextLm<B>,
    Plan { sources, unused }: Plan,
    files: &ModelFiles,
    dir: &Path,
) -> Result<Filled<B>, WeightsError> {
    let (tensors, path) = (sources.len(), ModulePath::default());
    let mut filler = Filler::<V> { sources, files, dir, scratch: Vec::new(), path, not_finite: 0, error: None };
    let model = model.map(&mut filler);
    let not_finite = filler.not_finite;
    filler.error.map_or(Ok(Filled { model, tensors, unused, not_finite }), Err)
}

/// Walks through a model and reads parameter after parameter, in the type that they have in memory.
struct Filler<'a, V> {
    sources: HashMap<String, Source>,
    files: &'a ModelFiles,
    dir: &'a Path,
    /// Memory for one tensor, used again and again.
    scratch: Vec<V>,
    path: ModulePath,
    not_finite: u64,
    error: Option<WeightsError>,
}

impl<V: Value> ModuleMapper for Filler<'_, V> {
    fn map_float<const R: usize>(&mut self, param: Param<Tensor<R>>) -> Param<Tensor<R>> {
        let Some(source) = self.sources.remove(&self.path.path()).filter(|_| self.error.is_none()) else {
            return param;
        };
        let (name, file) = &self.files.files[source.file];
        let values = match (source.layout, &source.stored.shape[..]) {
            (TensorLayout::Transposed, &[rows, columns]) => {
                read_transposed(file, &source.stored, [rows, columns], &mut self.scratch)
            }
            _ => read(file, &source.stored),
        };
        match values {
            Ok(Values { values, not_finite }) => {
                self.not_finite += not_finite as u64;
                let data = TensorData::new(values, param.lazy_shape());
                let tensor = Tensor::from_data(data, (&param.lazy_device(), V::dtype()));
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
