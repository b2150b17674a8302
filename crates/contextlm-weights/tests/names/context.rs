//! Names of the context path's tensors.

use std::collections::BTreeMap;
use std::fs;

use contextlm_core::{ContextLm, ContextLmConfig, Module, ModulePath, TensorLayout};
use contextlm_weights::load;
use serde_json::{Value, json};

use crate::common::{Scramble, cpu, directory, fixture, laid_out, logits, parameters};

/// A model with context parts, every parameter of it scrambled, and a directory that holds it.
fn context_model(of: &str, context: Value, names: &[(&str, &str)]) -> (ContextLm, tempfile::TempDir) {
    let backbone: Value = serde_json::from_str(&fs::read_to_string(fixture(of).join("config.json")).unwrap()).unwrap();
    let config = json!({ "model_type": "contextlm", "backbone": backbone, "context": context });
    let model = ContextLmConfig::from_json(&config).unwrap().init(&cpu()).unwrap();
    let model = model.map(&mut Scramble(ModulePath::default()));

    // The backbone's names are tested against transformers' own files; the context's are spelled out here.
    let table: BTreeMap<&str, &str> = names.iter().copied().collect();
    let backbone: BTreeMap<_, _> = model.tensors().into_iter().map(|tensor| (tensor.path, tensor.name)).collect();
    let stored = parameters(&model).into_iter().map(|(path, values)| match table.get(&*path) {
        Some(name) => match name.strip_suffix('^') {
            Some(name) => (name.to_string(), laid_out(&values, TensorLayout::Transposed)),
            None => (name.to_string(), values),
        },
        None if path.starts_with("backbone.") => {
            (backbone[&path].name.clone(), laid_out(&values, backbone[&path].layout))
        }
        None => panic!("{path} has no name"),
    });
    let dir = directory(of, &stored.collect());
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    (model, dir)
}

/// A predictor's block of the NeoX kind; `^` marks what is stored transposed.
const NEOX_BLOCK: [(&str, &str); 12] = [
    ("context.predictor.layers.0.norm_1.weight", "context.predictor.layers.0.input_layernorm.weight"),
    ("context.predictor.layers.0.norm_1.bias", "context.predictor.layers.0.input_layernorm.bias"),
    ("context.predictor.layers.0.norm_2.weight", "context.predictor.layers.0.post_attention_layernorm.weight"),
    ("context.predictor.layers.0.norm_2.bias", "context.predictor.layers.0.post_attention_layernorm.bias"),
    ("context.predictor.layers.0.attention.qkv.weight", "context.predictor.layers.0.attention.query_key_value.weight^"),
    ("context.predictor.layers.0.attention.qkv.bias", "context.predictor.layers.0.attention.query_key_value.bias"),
    ("context.predictor.layers.0.attention.output.weight", "context.predictor.layers.0.attention.dense.weight^"),
    ("context.predictor.layers.0.attention.output.bias", "context.predictor.layers.0.attention.dense.bias"),
    ("context.predictor.layers.0.mlp.up.weight", "context.predictor.layers.0.mlp.dense_h_to_4h.weight^"),
    ("context.predictor.layers.0.mlp.up.bias", "context.predictor.layers.0.mlp.dense_h_to_4h.bias"),
    ("context.predictor.layers.0.mlp.down.weight", "context.predictor.layers.0.mlp.dense_4h_to_h.weight^"),
    ("context.predictor.layers.0.mlp.down.bias", "context.predictor.layers.0.mlp.dense_4h_to_h.bias"),
];

#[test]
fn a_contextlm_on_neox_has_the_names_of_the_format() {
    let norm = [
        ("context.predictor.norm.weight", "context.predictor.norm.weight"),
        ("context.predictor.norm.bias", "context.predictor.norm.bias"),
        ("context.embedding.initial", "context.initial"),
        ("context.embedding.pool.weight", "context.pool.weight"),
        ("context.decoder.fusion.proj.weight", "context.fusion.proj.weight^"),
        ("context.decoder.fusion.proj.bias", "context.fusion.proj.bias"),
    ];
    let names = [&NEOX_BLOCK[..], &norm].concat();
    for fusion in ["concat", "projected_add"] {
        let context = json!({ "predictor_layers": 1, "pooling": "learned", "fusion": fusion });
        let (model, dir) = context_model("neox", context, &names);
        let loaded = load(dir.path(), &cpu()).unwrap();
        assert_eq!(parameters(&loaded.model), parameters(&model), "{fusion}");
        assert_eq!(logits(&loaded.model), logits(&model), "{fusion}");
    }
}

#[test]
fn a_contextlm_on_gpt2_stores_its_blocks_as_gpt2_does() {
    let block = [
        ("context.predictor.layers.0.norm_1.weight", "context.predictor.layers.0.ln_1.weight"),
        ("context.predictor.layers.0.norm_1.bias", "context.predictor.layers.0.ln_1.bias"),
        ("context.predictor.layers.0.norm_2.weight", "context.predictor.layers.0.ln_2.weight"),
        ("context.predictor.layers.0.norm_2.bias", "context.predictor.layers.0.ln_2.bias"),
        ("context.predictor.layers.0.attention.qkv.weight", "context.predictor.layers.0.attn.c_attn.weight"),
        ("context.predictor.layers.0.attention.qkv.bias", "context.predictor.layers.0.attn.c_attn.bias"),
        ("context.predictor.layers.0.attention.output.weight", "context.predictor.layers.0.attn.c_proj.weight"),
        ("context.predictor.layers.0.attention.output.bias", "context.predictor.layers.0.attn.c_proj.bias"),
        ("context.predictor.layers.0.mlp.up.weight", "context.predictor.layers.0.mlp.c_fc.weight"),
        ("context.predictor.layers.0.mlp.up.bias", "context.predictor.layers.0.mlp.c_fc.bias"),
        ("context.predictor.layers.0.mlp.down.weight", "context.predictor.layers.0.mlp.c_proj.weight"),
        ("context.predictor.layers.0.mlp.down.bias", "context.predictor.layers.0.mlp.c_proj.bias"),
        ("context.embedding.initial", "context.initial"),
    ];
    let normed = [
        ("context.decoder.fusion.norm_tokens.weight", "context.fusion.norm_tokens.weight"),
        ("context.decoder.fusion.norm_tokens.bias", "context.fusion.norm_tokens.bias"),
        ("context.decoder.fusion.norm_context.weight", "context.fusion.norm_context.weight"),
        ("context.decoder.fusion.norm_context.bias", "context.fusion.norm_context.bias"),
    ];
    let gated = [("context.decoder.fusion.gate", "context.fusion.gate")];
    for (fusion, names) in [("normed_add", &normed[..]), ("gated_add", &gated)] {
        let context = json!({ "predictor_layers": 1, "predictor_norm": false, "fusion": fusion });
        let (model, dir) = context_model("gpt2", context, &[&block[..], names].concat());
        let loaded = load(dir.path(), &cpu()).unwrap();
        assert_eq!(parameters(&loaded.model), parameters(&model), "{fusion}");
        assert_eq!(logits(&loaded.model), logits(&model), "{fusion}");
    }
}

#[test]
fn a_contextlm_on_llama_has_norms_without_biases() {
    let names = [
        ("context.predictor.layers.0.norm_1.weight", "context.predictor.layers.0.input_layernorm.weight"),
        ("context.predictor.layers.0.norm_2.weight", "context.predictor.layers.0.post_attention_layernorm.weight"),
        (
            "context.predictor.layers.0.attention.qkv.query.weight",
            "context.predictor.layers.0.self_attn.q_proj.weight^",
        ),
        ("context.predictor.layers.0.attention.qkv.key.weight", "context.predictor.layers.0.self_attn.k_proj.weight^"),
        (
            "context.predictor.layers.0.attention.qkv.value.weight",
            "context.predictor.layers.0.self_attn.v_proj.weight^",
        ),
        ("context.predictor.layers.0.attention.output.weight", "context.predictor.layers.0.self_attn.o_proj.weight^"),
        ("context.predictor.layers.0.mlp.gate.weight", "context.predictor.layers.0.mlp.gate_proj.weight^"),
        ("context.predictor.layers.0.mlp.up.weight", "context.predictor.layers.0.mlp.up_proj.weight^"),
        ("context.predictor.layers.0.mlp.down.weight", "context.predictor.layers.0.mlp.down_proj.weight^"),
        ("context.predictor.norm.weight", "context.predictor.norm.weight"),
        ("context.embedding.initial", "context.initial"),
        ("context.decoder.fusion.norm_tokens.weight", "context.fusion.norm_tokens.weight"),
        ("context.decoder.fusion.norm_context.weight", "context.fusion.norm_context.weight"),
    ];
    let context = json!({ "predictor_layers": 1, "fusion": "normed_add" });
    let (model, dir) = context_model("llama", context, &names);
    let loaded = load(dir.path(), &cpu()).unwrap();
    assert_eq!(parameters(&loaded.model), parameters(&model));
    assert_eq!(logits(&loaded.model), logits(&model));
}
