use burn::module::{ModuleMapper, Param};
use contextlm_core::{Backbone, ContextLm, ModelTensor, Module, ModulePath, Tensor};
use regex::Regex;

use crate::TrainError;

/// Takes parameters out of training: those whose name in a model file one of the patterns matches as a whole.
///
/// # Errors
/// [`TrainError::Config`] for what is no regular expression, for a pattern that matches nothing, and for patterns that match
/// everything.
pub(crate) fn freeze<B: Backbone>(model: ContextLm<B>, patterns: &[String]) -> Result<ContextLm<B>, TrainError> {
    if patterns.is_empty() {
        return Ok(model);
    }
    let frozen = frozen(&model.tensors(), patterns)?;
    Ok(model.map(&mut Freeze { frozen, path: ModulePath::default() }))
}

/// The paths of the parameters that the patterns take out of training, which must not be all.
pub(crate) fn frozen(tensors: &[ModelTensor], patterns: &[String]) -> Result<Vec<String>, TrainError> {
    let mut frozen = Vec::new();
    for pattern in patterns {
        let regex = Regex::new(&format!("^(?:{pattern})$"))
            .map_err(|error| TrainError::config("freeze", pattern, &format!("no regular expression: {error}")))?;
        let matched = tensors.iter().filter(|tensor| regex.is_match(&tensor.name.name));
        let before = frozen.len();
        frozen.extend(matched.map(|tensor: &ModelTensor| tensor.path.clone()));
        if frozen.len() == before {
            let example = tensors.first().map_or(String::new(), |tensor| tensor.name.name.clone());
            let fix = format!("matches no parameter; names are as {example}");
            return Err(TrainError::config("freeze", pattern, &fix));
        }
    }
    if !patterns.is_empty() && tensors.iter().all(|tensor| frozen.contains(&tensor.path)) {
        let fix = "takes every parameter out of training; leave some in";
        return Err(TrainError::config("freeze", format!("{patterns:?}"), fix));
    }
    Ok(frozen)
}

struct Freeze {
    frozen: Vec<String>,
    path: ModulePath,
}

impl ModuleMapper for Freeze {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.frozen.contains(&self.path.path()) { param.set_require_grad(false) } else { param }
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }
}
