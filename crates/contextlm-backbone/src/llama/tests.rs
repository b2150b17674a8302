use super::*;
use serde_json::json;

fn block(value: Value) -> Result<BlockConfig, BackboneError> {
    LlamaConfig::from_json(value.as_object().unwrap()).unwrap().block()
}

fn error(value: Value) -> (&'static str, String) {
    match block(value).unwrap_err() {
        BackboneError::Config { key, value, .. } => (key, value),
        other => panic!("{other}"),
    }
}

#[test]
fn the_three_differ_in_biases_and_missing_keys() {
    let biases = |value| {
        let block = block(value).unwrap();
        (block.attention.qkv_bias, block.attention.output_bias, block.mlp.bias, block.attention.kv_heads)
    };
    assert_eq!(biases(json!({})), (false, false, false, 32));
    assert_eq!(biases(json!({"attention_bias": true})), (true, true, false, 32));
    assert_eq!(biases(json!({"mlp_bias": true, "num_key_value_heads": 4})), (false, false, true, 4));
    let mistral = json!({"model_type": "mistral", "sliding_window": null, "attention_bias": true});
    assert_eq!(biases(mistral), (false, false, false, 8));
    assert_eq!(biases(json!({"model_type": "qwen2"})), (true, false, false, 32));
    let as_many = json!({"model_type": "qwen2", "num_attention_heads": 16, "num_key_value_heads": null});
    assert_eq!(biases(as_many), (true, false, false, 16));
}

#[test]
fn what_is_written_is_what_was_read() {
    for kind in ["llama", "mistral", "qwen2"] {
        for heads in [json!(null), json!(2)] {
            let keys = json!({"model_type": kind, "num_attention_heads": 4, "num_key_value_heads": heads,
                "sliding_window": null});
            let read = |value: &Value| LlamaConfig::from_json(value.as_object().unwrap()).unwrap();
            let config = read(&keys);
            let written = serde_json::to_value(&config).unwrap();
            assert_eq!(written["num_key_value_heads"], heads, "{kind}");
            assert_eq!((read(&written), written["sliding_window"].is_null()), (config, true), "{kind}");
        }
    }
}

#[test]
fn heads_whose_width_would_overflow_are_refused() {
    let (key, value) = error(json!({"num_attention_heads": 1 << 30, "head_dim": 1 << 30}));
    assert_eq!((key, value), ("num_attention_heads * head_dim", (1_u64 << 60).to_string()));
    assert_eq!(error(json!({"head_dim": 0})).0, "head_dim");
}

#[test]
fn windows_are_refused_where_they_hide_something() {
    let window = |kind: &str, window: Value, used: bool, positions: u64| {
        let keys = json!({"model_type": kind, "sliding_window": window, "use_sliding_window": used,
            "max_position_embeddings": positions});
        block(keys).is_ok()
    };
    assert!(!window("mistral", json!(4096), false, 8192));
    assert!(window("mistral", json!(4096), false, 4096));
    assert!(window("mistral", json!(null), false, 8192));
    assert!(!window("qwen2", json!(4096), true, 8192));
    assert!(window("qwen2", json!(4096), false, 8192));
    assert!(!window("mistral", json!("long"), false, 8192));
    let missing = json!({"model_type": "mistral", "max_position_embeddings": 8192});
    assert_eq!(error(missing), ("sliding_window", "4096".into()));
}

#[test]
fn both_dialects_of_rotary_settings_are_read() {
    let numbers = json!({"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192});
    let with = |extra: Value| {
        let mut numbers = numbers.clone();
        numbers.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        numbers
    };
    let old = json!({"rope_theta": 5e5, "rope_scaling": with(json!({"rope_type": "llama3"}))});
    let new = json!({"rope_parameters": with(json!({"rope_type": "llama3", "rope_theta": 5e5}))});
    let older = json!({"rope_theta": 5e5, "rope_scaling": with(json!({"type": "llama3"}))});
    let read = |value| block(value).unwrap().rotary.unwrap();
    assert_eq!(read(old.clone()), read(new));
    let both = json!({"rope_theta": 5e5, "rope_scaling": with(json!({"rope_type": "llama3", "type": "llama3"}))});
    assert_eq!(read(old.clone()), read(older));
    assert_eq!(read(old), read(both));
    assert_eq!(read(json!({"rope_scaling": null})).theta, 1e4);
    assert_eq!(error(json!({"rope_scaling": {"type": "yarn"}})), ("rope_type", "yarn".into()));
    assert_eq!(error(json!({"rope_scaling": {"rope_type": "llama3"}})), ("factor", "missing".into()));
    let share = json!({"rope_parameters": {"partial_rotary_factor": 0.5}});
    assert_eq!(error(share), ("partial_rotary_factor", "0.5".into()));
}
