//! The stages of Figure 2 with their shapes, and what they cost.

use contextlm_core::{Backbone, ContextLm, FusionKind, Source};

/// Prints the tables for a prompt of `length` tokens.
pub(crate) fn print(model: &ContextLm, length: usize) {
    let spec = model.backbone.spec();
    let (d, v) = (spec.width, spec.vocabulary);
    let Some(settings) = model.settings() else { return };
    let (chunks, first) = (length / settings.chunk_size, settings.encoder_layers);
    let row = |stage: &str, does: &str, shape: &str| println!("{stage:<20}  {does:<52}  {shape}");

    row("stage", "does", &format!("shape (here {length} tokens)"));
    let encoder = match first {
        0 => "token embedding".to_string(),
        _ => format!("token embedding, {}", blocks(first)),
    };
    row("token encoder", &encoder, &format!("[1, {length}] -> [1, {length}, {d}]"));
    if settings.source == Source::Predicted {
        let pooling = format!("{:?} of every {} tokens", settings.pooling, settings.chunk_size).to_lowercase();
        row("context embedding", &pooling, &format!("-> [1, {chunks}, {d}]"));
        let norm = if settings.predictor_norm { ", norm" } else { "" };
        let predictor = format!("{} over chunks{norm}", blocks(settings.predictor_layers));
        row("context predictor", &predictor, &format!("-> [1, {chunks}, {d}]"));
    }
    row(
        "predicted contexts",
        "the initial one, then a prediction for every chunk",
        &format!("-> [1, {}, {d}]", chunks + 1),
    );
    let fusion = match settings.fusion {
        FusionKind::Add => "adds the context",
        FusionKind::NormedAdd => "adds the norms of token and context",
        FusionKind::GatedAdd => "adds the gated context",
        FusionKind::ProjectedAdd => "adds a map of the context",
        FusionKind::Concat => "maps token and context",
        FusionKind::Interleave => "contexts as entries of their own",
    };
    let decoder = format!("{fusion}, {}", blocks(spec.layers - first));
    row("token decoder", &decoder, &format!("-> [1, {length}, {d}]"));
    row("LM head", "norm, head", &format!("-> [1, {length}, {v}]"));

    let parameters = model.parameters();
    println!("\n{:<18}  {:>13}  {:>25}", "", "parameters", "FLOPs a token (forward)");
    let flops = model.flops_per_token(spec.max_positions);
    for (name, count, flops) in [
        ("plain backbone", parameters.backbone, flops.map(|flops| flops.backbone)),
        ("context parts", parameters.context, flops.map(|flops| flops.context)),
        ("ContextLM", parameters.total, flops.map(|flops| flops.total)),
    ] {
        let flops = flops.map_or("unknown".into(), |flops| grouped(flops as usize));
        println!("{name:<18}  {:>13}  {flops:>25}", grouped(count));
    }
}

fn blocks(count: usize) -> String {
    format!("{count} block{}", if count == 1 { "" } else { "s" })
}

/// A number with commas between thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let parts: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    parts.join(",")
}
