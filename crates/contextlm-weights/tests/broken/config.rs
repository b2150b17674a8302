//! Configs that are none, or of other files.

use std::fs;

use contextlm_weights::{WeightsError, read_config};
use serde_json::{Value, json};

use crate::common::{directory, fixture, tensors_of};
use crate::{error, refused};

/// A fixture with one key of its config replaced.
fn with_config(of: &str, key: &str, value: Value) -> tempfile::TempDir {
    let dir = directory(of, &tensors_of(of));
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    match value {
        Value::Null => drop(config.as_object_mut().unwrap().remove(key)),
        value => config[key] = value,
    }
    fs::write(&path, config.to_string()).unwrap();
    dir
}

#[test]
fn configs_that_are_not_of_these_files() {
    for (of, key) in [
        ("gpt2", "n_embd"),
        ("gpt2", "n_layer"),
        ("gpt2", "n_head"),
        ("gpt2", "n_positions"),
        ("gpt2", "vocab_size"),
        ("gpt2", "n_inner"),
        ("neox", "hidden_size"),
        ("neox", "num_hidden_layers"),
        ("neox", "num_attention_heads"),
        ("neox", "max_position_embeddings"),
        ("neox", "vocab_size"),
        ("neox", "intermediate_size"),
        ("llama", "hidden_size"),
        ("llama", "num_hidden_layers"),
        ("llama", "num_attention_heads"),
        ("llama", "num_key_value_heads"),
        ("llama_biased", "head_dim"),
        ("llama", "max_position_embeddings"),
        ("llama", "vocab_size"),
        ("llama", "intermediate_size"),
        ("mistral", "hidden_size"),
        ("qwen2", "num_key_value_heads"),
    ] {
        for value in [json!(0), json!(-1), json!(1_u64 << 31), json!(u64::MAX), json!(1e300), json!("8"), json!([])] {
            let error = error(with_config(of, key, value.clone()).path());
            assert!(matches!(error, WeightsError::Config(_)), "{of}, {key} = {value}: {error}");
            assert!(error.to_string().contains("config.json") || error.to_string().contains(key), "{key}: {error}");
        }
    }
    // As large as a size may be, and many times the file. NeoX stores nothing for a position.
    let most = json!(i32::MAX);
    for (of, key) in [("gpt2", "n_layer"), ("neox", "num_hidden_layers"), ("llama", "num_hidden_layers")] {
        let error = error(with_config(of, key, json!(10_000)).path());
        assert!(matches!(error, WeightsError::Layers { layers: 10_000, .. }), "{error}");
        let error = read_config(with_config(of, key, json!(10_000)).path()).unwrap_err();
        assert!(matches!(error, WeightsError::Layers { layers: 10_000, .. }), "{error}");
    }
    for (of, key) in [
        ("gpt2", "vocab_size"),
        ("gpt2", "n_positions"),
        ("gpt2", "n_inner"),
        ("neox", "vocab_size"),
        ("neox", "intermediate_size"),
        ("llama", "vocab_size"),
        ("qwen2", "intermediate_size"),
    ] {
        let error = error(with_config(of, key, most.clone()).path());
        assert!(matches!(error, WeightsError::Tensors { .. }), "{error}");
    }
}

/// Left out, a size is Hugging Face's default, and the files are not of that size.
#[test]
fn configs_without_a_size() {
    for (of, key, part) in [
        ("gpt2", "n_embd", "transformer.wte.weight is [61, 24] and should be [61, 768]"),
        ("gpt2", "n_layer", "missing: transformer.h.2.ln_1.weight [24]"),
        ("gpt2", "n_positions", "transformer.wpe.weight is [12, 24] and should be [1024, 24]"),
        ("gpt2", "vocab_size", "transformer.wte.weight is [61, 24] and should be [50257, 24]"),
        ("neox", "hidden_size", "gpt_neox.embed_in.weight is [61, 24] and should be [61, 6144]"),
        ("neox", "num_hidden_layers", "missing: gpt_neox.layers.43.input_layernorm.weight [24]"),
        ("llama", "vocab_size", "model.embed_tokens.weight is [61, 32] and should be [32000, 32]"),
        ("llama", "num_hidden_layers", "missing: model.layers.31.input_layernorm.weight [32]"),
        ("llama", "num_key_value_heads", "k_proj.weight is [8, 32] and should be [32, 32]"),
        ("mistral", "intermediate_size", "mlp.up_proj.weight is [40, 32] and should be [14336, 32]"),
        ("qwen2", "hidden_size", "model.embed_tokens.weight is [61, 32] and should be [61, 4096]"),
        ("neox", "model_type", "model_type"),
    ] {
        let error = error(with_config(of, key, Value::Null).path()).to_string();
        assert!(error.contains(part), "{of} without {key}: {error}");
    }
}

#[test]
fn configs_that_are_no_configs() {
    let unknown = error(with_config("gpt2", "model_type", json!("bert")).path());
    assert!(unknown.to_string().contains("bert"), "{unknown}");
    let dir = directory("gpt2", &tensors_of("gpt2"));
    for text in ["", "{", "[]", "null", "{}", "\u{0}", &"[".repeat(100_000), r#"{"model_type":"contextlm"}"#] {
        fs::write(dir.path().join("config.json"), text).unwrap();
        assert!(matches!(error(dir.path()), WeightsError::Config(_)), "{text:.20}");
    }
    fs::write(dir.path().join("config.json"), b"{\"model_type\": \"gpt2\xff\"}").unwrap();
    assert!(error(dir.path()).to_string().contains("config.json"));
    let file = fs::File::create(dir.path().join("config.json")).unwrap();
    file.set_len(10_000_001).unwrap();
    refused(dir.path(), "config.json", &["10000001 bytes, at most 10000000"]);
}

#[test]
fn context_settings_beyond_the_files() {
    let backbone: Value =
        serde_json::from_str(&fs::read_to_string(fixture("gpt2").join("config.json")).unwrap()).unwrap();
    let dir = directory("gpt2", &tensors_of("gpt2"));
    let with = |key: &str, value: Value| {
        let mut context = json!({ "pooling": "learned" });
        context[key] = value;
        let config = json!({ "model_type": "contextlm", "backbone": backbone, "context": context });
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        error(dir.path())
    };
    for (key, value) in [
        ("chunk_size", json!(0)),
        ("chunk_size", json!(u64::MAX)),
        ("encoder_layers", json!(3)),
        ("predictor_layers", json!(u64::MAX)),
        ("predictor_layers", json!(10_001)),
        ("gate_init", json!(1e300)),
        ("window", json!(4)),
    ] {
        let error = with(key, value.clone());
        assert!(matches!(error, WeightsError::Config(_)), "{key} = {value}: {error}");
        assert!(error.to_string().contains(&format!("context.{key} = ")), "{error}");
    }
    assert!(matches!(with("predictor_layers", json!(10_000)), WeightsError::Layers { .. }));
    let large = with("chunk_size", json!(i32::MAX)).to_string();
    assert!(large.contains("missing: context.pool.weight [24, 51539607528]"), "{large}");
}
