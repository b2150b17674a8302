use contextlm_backbone::BackboneSpec;
use contextlm_embedding::Pooling;

use crate::{ContextConfig, ContextLmError};

/// Parameters, and arithmetic a token, that no model of this age has; sums of sizes below it fit every integer here.
const MOST: u128 = 1 << 53;

/// Checks that neither [`Parameters`](crate::Parameters) nor [`FlopsPerToken`](crate::FlopsPerToken) can overflow: each size
/// of a config may be large, but not all of them together.
///
/// What is compared is above both, as simple as that allows.
///
/// # Errors
/// [`ContextLmError::TooLarge`] with the sizes.
pub(crate) fn check_size(spec: &BackboneSpec, context: Option<&ContextConfig>) -> Result<(), ContextLmError> {
    let attention = &spec.predictor_block.attention;
    let [width, layers, vocabulary, positions, inner] =
        [spec.width, spec.layers, spec.vocabulary, spec.max_positions, spec.predictor_block.mlp.inner]
            .map(|size| size as u128);
    let heads = attention.heads as u128 * attention.head_dim as u128;
    // At most four maps between width and heads and three between width and inner, then biases and norms.
    let block = 4 * width * heads + 3 * width * inner + 8 * (width + heads + inner);
    let (predictor, pooled) = context.map_or((0, 0), |context| {
        let pooled = if context.pooling == Pooling::Learned { context.chunk_size } else { 0 };
        (context.predictor_layers as u128, pooled as u128)
    });
    // Entries that are no tokens can make the layers work twice; the last terms are embeddings, head, pooling and fusion.
    let most = (2 * layers + predictor) * (2 * block + 4 * heads * positions)
        + (4 * vocabulary + 2 * positions) * width
        + (pooled + 6) * width * width
        + 8 * width;
    if most <= MOST {
        return Ok(());
    }
    let sizes = format!(
        "width {width}, {layers} layers of {heads} in heads and {inner} in the MLP, {predictor} layers of the predictor, \
         vocabulary {vocabulary}, {positions} positions"
    );
    Err(ContextLmError::TooLarge { sizes })
}
