use contextlm_core::{BackboneConfig, ContextConfig, ContextLmConfig, FusionKind, Source};

/// A model under a name that says what it is.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name in tables and pictures.
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
    let layers = backbone.layers();
    let deeper = layers + context.predictor_layers;
    let of = |layers| ContextLmConfig::new(backbone.clone().with_layers(layers));
    let constant = ContextConfig { source: Source::Constant, ..context.clone() };
    // Where every position gets the same context and no entry is added, the chunk size plays no part.
    let (encoder, w) = (context.encoder_layers, context.chunk_size);
    let fusion = match context.fusion {
        FusionKind::Interleave => format!("{}-e{encoder}-w{w}", fusion_name(context.fusion)),
        other => format!("{}-e{encoder}", fusion_name(other)),
    };
    let row = |name: String, config: ContextLmConfig| Row { name, config };
    [
        row(format!("plain-{layers}L"), of(layers)),
        row(format!("plain-{deeper}L"), of(deeper)),
        row(format!("constant-{layers}L-{fusion}"), of(layers).with_context(constant.clone())),
        row(format!("constant-{deeper}L-{fusion}"), of(deeper).with_context(constant)),
        row(settings_name(layers, context), of(layers).with_context(context.clone())),
    ]
}

/// A name for a ContextLM: depth, fusion, encoder layers and chunk size.
fn settings_name(layers: usize, context: &ContextConfig) -> String {
    let ContextConfig { fusion, encoder_layers, chunk_size, .. } = context;
    format!("contextlm-{layers}L-{}-e{encoder_layers}-w{chunk_size}", fusion_name(*fusion))
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
