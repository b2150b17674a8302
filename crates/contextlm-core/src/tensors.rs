use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use contextlm_backbone::{Backbone, TensorLayout, TensorName};

use crate::ContextLm;

/// The path of the parameter at hand while a module is walked: fields and indices joined by dots. Variants of
/// enums are left out, so that `backbone.h.0...` is the same for every way to hold a GPT-2.
#[derive(Debug, Clone, Default)]
pub struct ModulePath {
    levels: Vec<Option<String>>,
}

impl ModulePath {
    /// To be called from `enter_module` of a visitor or mapper, with its arguments.
    pub fn enter(&mut self, name: &str, container_type: &str) {
        let variant = container_type.starts_with("Enum:");
        self.levels.push((!variant).then(|| name.to_string()));
    }

    /// To be called from `exit_module`.
    pub fn exit(&mut self) {
        self.levels.pop();
    }

    /// The path, such as `backbone.h.0.attention.qkv.weight`.
    pub fn path(&self) -> String {
        self.levels.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(".")
    }
}

/// A parameter as a model file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelTensor {
    /// Its path in the module, see [`ModulePath`].
    pub path: String,
    /// Its shape here; [`TensorLayout::Transposed`] exchanges the two dimensions in the file.
    pub shape: Vec<usize>,
    /// What it is called in the file.
    pub name: TensorName,
}

impl ModelTensor {
    /// Its shape in the file.
    pub fn stored_shape(&self) -> Vec<usize> {
        match self.name.layout {
            TensorLayout::Same => self.shape.clone(),
            TensorLayout::Transposed => self.shape.iter().rev().copied().collect(),
        }
    }
}

impl<B: Backbone> ContextLm<B> {
    /// Every parameter with its name in a model file; nothing is initialised by asking. Parameters are floats: a
    /// backbone's integers or booleans are no part of a model file.
    pub fn tensors(&self) -> Vec<ModelTensor> {
        struct Walk<'a, B: Backbone>(&'a ContextLm<B>, ModulePath, Vec<ModelTensor>);

        impl<B: Backbone> ModuleVisitor for Walk<'_, B> {
            fn visit_float<const R: usize>(&mut self, param: &Param<Tensor<R>>) {
                let path = self.1.path();
                let name = self.0.tensor_name(&path);
                self.2.push(ModelTensor { path, shape: param.lazy_shape().dims::<R>().to_vec(), name });
            }

            fn enter_module(&mut self, name: &str, container_type: &str) {
                self.1.enter(name, container_type);
            }

            fn exit_module(&mut self, _name: &str, _container_type: &str) {
                self.1.exit();
            }
        }

        let mut walk = Walk(self, ModulePath::default(), Vec::new());
        Module::visit(self, &mut walk);
        walk.2
    }

    /// What the parameter at a path is called in a model file.
    fn tensor_name(&self, path: &str) -> TensorName {
        let names = self.backbone.tensor_names();
        if let Some(path) = path.strip_prefix("backbone.") {
            return names
                .and_then(|names| names.of(path))
                .unwrap_or_else(|| TensorName::new(format!("backbone.{path}")));
        }
        if let Some((index, path)) =
            path.strip_prefix("context.predictor.layers.").and_then(|path| path.split_once('.'))
        {
            let block = names.and_then(|names| names.of_block(path)).unwrap_or_else(|| TensorName::new(path));
            return TensorName { name: format!("context.predictor.layers.{index}.{}", block.name), ..block };
        }
        // The file's names follow the paper's parts, not which of our structs holds them.
        let name = match path.strip_prefix("context.embedding.").or_else(|| path.strip_prefix("context.decoder.")) {
            Some(rest) => format!("context.{rest}"),
            None => path.to_string(),
        };
        let linear = path == "context.decoder.fusion.proj.weight";
        let layout = if linear { TensorLayout::Transposed } else { TensorLayout::Same };
        TensorName { layout, ..TensorName::new(name) }
    }
}
