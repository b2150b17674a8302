use contextlm_core::{BackboneConfig, ContextConfig, ContextLmConfig, FusionKind, Source};

/// A model under a name that says what it is.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name in tables, pictures and files.
    pub name: String,
    /// Its config.
    pub config: ContextLmConfig,
}

/// The rows of a comparison that is fair in parameters and has its controls.
///
/// 1. the plain backbone;
/// 2. the plain backbone with as many more layers as the predictor has (equal parameters);
/// 3. `constant`: the same fusion, but every position gets the initial context. What is gained here is the fusion's, not
///    the contexts';
/// 4. `constant` with as many more layers;
/// 5. ContextLM. What its contexts add is the difference to the better of 3 and 4.
pub fn five_rows(backbone: BackboneConfig, context: &ContextConfig) -> [Row; 5] {
    let deeper = backbone.clone().with_layers(backbone.layers() + context.predictor_layers);
    let constant = ContextConfig { source: Source::Constant, ..context.clone() };
    [
        named_row(backbone.clone(), None),
        named_row(deeper.clone(), None),
        named_row(backbone.clone(), Some(constant.clone())),
        named_row(deeper, Some(constant)),
        named_row(backbone, Some(context.clone())),
    ]
}

/// A model named by its depth, its kind, and the settings that comparisons vary.
pub fn named_row(backbone: BackboneConfig, context: Option<ContextConfig>) -> Row {
    let layers = backbone.layers();
    let plain = ContextLmConfig::new(backbone);
    let Some(context) = context else {
        return Row { name: format!("plain-{layers}L"), config: plain };
    };
    let (fusion, encoder, w) = (fusion_name(context.fusion), context.encoder_layers, context.chunk_size);
    let name = match (context.source, context.fusion) {
        // Where every position gets the same context and no entry is added, the chunk size plays no part.
        (Source::Constant, kind) if kind != FusionKind::Interleave => format!("constant-{layers}L-{fusion}-e{encoder}"),
        (Source::Constant, _) => format!("constant-{layers}L-{fusion}-e{encoder}-w{w}"),
        (Source::Predicted, _) => format!("contextlm-{layers}L-{fusion}-e{encoder}-w{w}"),
    };
    Row { name, config: plain.with_context(context) }
}

fn fusion_name(fusion: FusionKind) -> &'static str {
    match fusion {
        FusionKind::Add => "add",
        FusionKind::NormedAdd => "normed_add",
        FusionKind::GatedAdd => "gated_add",
        FusionKind::ProjectedAdd => "projected_add",
        FusionKind::Concat => "concat",
        FusionKind::Interleave => "interleave",
    }
}
