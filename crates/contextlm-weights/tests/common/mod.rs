//! What the tests share: model directories to write, parameters to look at.
#![allow(dead_code)] // every test file uses its part

pub(crate) mod parity;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use contextlm_core::{ContextLm, Device, Int, Module, ModulePath, TensorLayout};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// Shape and values.
pub(crate) type Values = (Vec<usize>, Vec<f32>);

pub(crate) fn cpu() -> Device {
    contextlm_device::device("cpu").unwrap()
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// All tensors of a file of f32 (or i32) values.
pub(crate) fn read_file(path: &Path) -> BTreeMap<String, Values> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &TensorView<'_>| -> Vec<f32> {
        let words = view.data().as_chunks::<4>().0.iter();
        match view.dtype() {
            Dtype::I32 => words.map(|word| i32::from_le_bytes(*word) as f32).collect(),
            Dtype::F32 => words.map(|word| f32::from_le_bytes(*word)).collect(),
            other => panic!("{other:?}"),
        }
    };
    file.tensors().iter().map(|(name, view)| (name.clone(), (view.shape().to_vec(), values(view)))).collect()
}

/// Writes f32 tensors.
pub(crate) fn write_file(path: &Path, tensors: &BTreeMap<String, Values>) {
    write_as(path, tensors, Dtype::F32, |value| value.to_le_bytes().to_vec());
}

/// Writes tensors of any type.
pub(crate) fn write_as(path: &Path, tensors: &BTreeMap<String, Values>, dtype: Dtype, bytes: impl Fn(&f32) -> Vec<u8>) {
    let data: BTreeMap<_, Vec<u8>> =
        tensors.iter().map(|(name, (_, values))| (name, values.iter().flat_map(&bytes).collect())).collect();
    let views = tensors
        .iter()
        .map(|(name, (shape, _))| (name.clone(), TensorView::new(dtype, shape.clone(), &data[name]).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A directory with a fixture's config and the given tensors.
pub(crate) fn directory(of: &str, tensors: &BTreeMap<String, Values>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(fixture(of).join("config.json"), dir.path().join("config.json")).unwrap();
    write_file(&dir.path().join("model.safetensors"), tensors);
    dir
}

/// A fixture's tensors.
pub(crate) fn tensors_of(name: &str) -> BTreeMap<String, Values> {
    read_file(&fixture(name).join("model.safetensors"))
}

/// Every parameter by its path.
pub(crate) fn parameters(model: &ContextLm) -> BTreeMap<String, Values> {
    let mut collect = Collect::default();
    model.visit(&mut collect);
    collect.found
}

#[derive(Default)]
struct Collect {
    path: ModulePath,
    found: BTreeMap<String, Values>,
}

impl ModuleVisitor for Collect {
    fn visit_float<const R: usize>(&mut self, param: &Param<Tensor<R>>) {
        let values = param.val().into_data().convert::<f32>().try_to_vec().unwrap();
        self.found.insert(self.path.path(), (param.dims().to_vec(), values));
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }
}

/// Gives every parameter values of its own: between -0.5 and 0.5, from a hash of path and index.
pub(crate) struct Scramble(pub(crate) ModulePath);

impl ModuleMapper for Scramble {
    fn map_float<const R: usize>(&mut self, param: Param<Tensor<R>>) -> Param<Tensor<R>> {
        let path = self.0.path();
        let seed = path.bytes().fold(17_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        param.map(|tensor| {
            let shape = tensor.dims();
            let value = |i: usize| {
                let mixed = (seed ^ i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                ((mixed >> 40) as f32) / (1 << 24) as f32 - 0.5
            };
            let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
            Tensor::from_data(TensorData::new(values, shape), &tensor.device())
        })
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.0.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.0.exit();
    }
}

/// A matrix with its rows and columns exchanged, where the layout says so.
pub(crate) fn laid_out((shape, values): &Values, layout: TensorLayout) -> Values {
    match (layout, &shape[..]) {
        (TensorLayout::Transposed, &[rows, columns]) => {
            let at = |i: usize| values[(i % rows) * columns + i / rows];
            (vec![columns, rows], (0..values.len()).map(at).collect())
        }
        _ => (shape.clone(), values.clone()),
    }
}

/// Logits of a few tokens.
pub(crate) fn logits(model: &ContextLm) -> Vec<f32> {
    let tokens = Tensor::<2, Int>::from_ints([[3, 1, 4, 1, 5, 9, 2, 6, 5], [2, 7, 1, 8, 2, 8, 1, 8, 2]], &cpu());
    model.forward(tokens).into_data().try_to_vec().unwrap()
}
