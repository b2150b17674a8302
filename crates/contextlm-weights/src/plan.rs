use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use contextlm_core::{Backbone, ContextLm, TensorLayout, TensorName};

use crate::files::ModelFiles;
use crate::header::Stored;
use crate::values::{equal, is_float};
use crate::{Problem, WeightsError};

/// Buffers that files carry and no model needs: causal masks and rotary frequencies.
const BUFFERS: [&str; 5] =
    ["attn.bias", "attn.masked_bias", "attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"];

/// Where a parameter's values are.
#[derive(Debug)]
pub(crate) struct Source {
    /// Number of the file.
    pub(crate) file: usize,
    pub(crate) stored: Stored,
    pub(crate) layout: TensorLayout,
}

/// What is read, and what is not.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where each parameter's values are, by its path.
    pub(crate) sources: HashMap<String, Source>,
    /// Names of tensors that the model has no use for, buffers aside.
    pub(crate) unused: Vec<String>,
}

/// Finds every parameter of a model in its files, by its path.
///
/// # Errors
/// [`WeightsError::Tensors`] with all that is missing, left over, or of another shape or type.
pub(crate) fn plan<B: Backbone>(
    model: &ContextLm<B>,
    files: &ModelFiles,
    dir: &Path,
    allow_unused: bool,
) -> Result<Plan, WeightsError> {
    let mut left: BTreeMap<&str, &(usize, Stored)> = files.tensors.iter().map(|(name, at)| (&**name, at)).collect();
    let mut found = HashMap::new();
    let mut names = HashMap::new();
    let mut problems = Vec::new();
    for tensor in model.tensors() {
        let expected = tensor.stored_shape();
        let Some((name, (file, stored))) = take(&mut left, &tensor.name) else {
            problems.push(Problem::Missing { name: tensor.name.name, shape: expected });
            continue;
        };
        problems.extend(check(name, stored, &expected));
        names.insert(tensor.path.clone(), name);
        found.insert(tensor.path, Source { file: *file, stored: stored.clone(), layout: tensor.name.layout });
    }
    problems.extend(check_tied_head(model, files, dir, &mut left, &found, &names)?);
    left.retain(|name, _| !is_buffer(name));
    let unused = left.keys().map(|name| name.to_string()).collect();
    if !allow_unused {
        let unexpected = |(name, (file, _)): (&str, &(usize, Stored))| Problem::Unexpected {
            name: name.into(),
            file: files.files[*file].0.clone(),
        };
        problems.extend(left.into_iter().map(unexpected));
    }
    if problems.is_empty() {
        Ok(Plan { sources: found, unused })
    } else {
        Err(WeightsError::Tensors { path: dir.into(), problems })
    }
}

/// A tied model's head may be in its files; then it is the embedding once more.
fn check_tied_head<'a, B: Backbone>(
    model: &ContextLm<B>,
    files: &ModelFiles,
    dir: &Path,
    left: &mut BTreeMap<&'a str, &'a (usize, Stored)>,
    found: &HashMap<String, Source>,
    names: &HashMap<String, &str>,
) -> Result<Option<Problem>, WeightsError> {
    let Some(table) = model.backbone.tensor_names() else { return Ok(None) };
    let embedding = format!("backbone.{}", table.tied_to);
    if found.contains_key(&format!("backbone.{}", table.head)) {
        return Ok(None);
    }
    let (Some(source), Some(embedding)) = (found.get(&embedding), names.get(&embedding)) else { return Ok(None) };
    let Some((name, (file, stored))) = take(left, &table.head_name()) else { return Ok(None) };
    if let Some(problem) = check(name, stored, &source.stored.shape) {
        return Ok(Some(problem));
    }
    if !is_float(source.stored.dtype) {
        return Ok(None); // reported of the embedding
    }
    let (head_file, embedding_file) = (&files.files[*file], &files.files[source.file]);
    let same = equal((&head_file.1, stored), (&embedding_file.1, &source.stored))
        .map_err(WeightsError::io(&dir.join(&head_file.0)))?;
    Ok((!same).then(|| Problem::Head { name: name.into(), embedding: embedding.to_string() }))
}

/// Takes the first of a tensor's names that is there.
fn take<'a>(
    left: &mut BTreeMap<&'a str, &'a (usize, Stored)>,
    name: &TensorName,
) -> Option<(&'a str, &'a (usize, Stored))> {
    std::iter::once(&name.name).chain(&name.aliases).find_map(|name| left.remove_entry(name.as_str()))
}

fn check(name: &str, stored: &Stored, expected: &[usize]) -> Option<Problem> {
    if stored.shape != expected {
        let (expected, found) = (expected.to_vec(), stored.shape.clone());
        return Some(Problem::Shape { name: name.into(), expected, found });
    }
    (!is_float(stored.dtype)).then(|| Problem::Type { name: name.into(), found: format!("{:?}", stored.dtype) })
}

fn is_buffer(name: &str) -> bool {
    BUFFERS.iter().any(|buffer| name.strip_suffix(buffer).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}
