use burn::tensor::{DType, Tensor};
use contextlm_embedding::ChunkGrid;
use contextlm_nn::cast;
use serde::{Deserialize, Serialize};

/// A loss on the predicted contexts themselves, for ablations; it is a training key and never in `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatentLoss {
    /// None: the predictor is trained by the tokens' cross-entropy alone.
    #[default]
    None,
    /// Squared difference, averaged over the dimensions.
    Mse,
    /// 1 - cosine.
    Cosine,
}

/// Sum of the distances between every prediction and the detached, unnormed context embedding of the chunk that it
/// predicts, over `divisor`; `None` where there is no such pair.
///
/// # Shapes
/// p [B, K, D], c [B, K, D] to `[1]`
pub(crate) fn latent_loss(
    kind: LatentLoss,
    predicted: Tensor<3>,
    chunks: Tensor<3>,
    grid: &ChunkGrid,
    divisor: f64,
) -> Option<Tensor<1>> {
    if kind == LatentLoss::None {
        return None;
    }
    let (predicted, target) = grid.predictions_and_targets(predicted, chunks.detach())?;
    let (predicted, target) = (cast(predicted, DType::F32), cast(target, DType::F32));
    let distances = match kind {
        LatentLoss::Cosine => {
            let norms = length(predicted.clone()) * length(target.clone());
            let cosine = (predicted * target).sum_dim(1) / norms;
            cosine.neg().add_scalar(1.0)
        }
        _ => (predicted - target).square().mean_dim(1),
    };
    Some(distances.sum().div_scalar(divisor))
}

/// Length of every row, at least 1e-8 as in `torch.nn.functional.cosine_similarity`.
fn length(x: Tensor<2>) -> Tensor<2> {
    x.square().sum_dim(1).clamp_min(1e-16).sqrt()
}
