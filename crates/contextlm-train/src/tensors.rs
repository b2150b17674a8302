use burn::tensor::TensorData;
use contextlm_core::{BackboneSpec, Device, Documents, Int, Tensor};
use contextlm_data::{Batch, IGNORE_INDEX};

use crate::TrainError;

/// A batch on a device.
#[derive(Debug, Clone)]
pub struct BatchTensors {
    /// [B, T].
    pub inputs: Tensor<2, Int>,
    /// [B, T], shifted already; -100 where there is no target.
    pub targets: Tensor<2, Int>,
    /// Documents of a packed batch.
    pub documents: Option<Documents>,
}

/// Checks that a model can take a batch: a backend would panic over an id that is no token, or give a wrong loss.
///
/// # Errors
/// [`TrainError::Batch`] naming the id or the length.
pub(crate) fn check_batch(batch: &Batch, spec: &BackboneSpec) -> Result<(), TrainError> {
    let fits = |id: &i64| (0..spec.vocabulary as i64).contains(id);
    let target = |id: &i64| fits(id) || *id == IGNORE_INDEX;
    let wrong = batch.inputs.iter().find(|&id| !fits(id)).or_else(|| batch.targets.iter().find(|&id| !target(id)));
    if let Some(id) = wrong {
        let vocabulary = spec.vocabulary;
        let reason = format!("token {id}, but the model has {vocabulary}; was the text encoded by its tokenizer?");
        return Err(TrainError::Batch { reason });
    }
    if batch.length > spec.max_positions {
        let (length, most) = (batch.length, spec.max_positions);
        return Err(TrainError::Batch {
            reason: format!("rows of {length} tokens, but the model has {most} positions"),
        });
    }
    Ok(())
}

/// Puts rows `from..to` of a batch on a device.
///
/// # Errors
/// [`TrainError::Batch`] if the batch does not hold what its sizes say.
pub fn batch_tensors(batch: &Batch, from: usize, to: usize, device: &Device) -> Result<BatchTensors, TrainError> {
    let shape = [to.saturating_sub(from), batch.length];
    let rows = |values: &[i64]| {
        let values = values.get(from * batch.length..to * batch.length).ok_or_else(|| TrainError::Batch {
            reason: format!("rows {from}..{to} of {} ids, {} a row", values.len(), batch.length),
        })?;
        Ok::<_, TrainError>(Tensor::from_data(TensorData::new(values.to_vec(), shape), device))
    };
    let documents = batch.documents.as_ref().and_then(|starts| starts.get(from..to)).map(|starts| {
        Documents::new(starts.to_vec(), batch.length).map_err(|error| TrainError::Batch { reason: error.to_string() })
    });
    Ok(BatchTensors { inputs: rows(&batch.inputs)?, targets: rows(&batch.targets)?, documents: documents.transpose()? })
}
