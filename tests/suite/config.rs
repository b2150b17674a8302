//! Configurations: errors that help, and `config.json` there and back.

use contextlm_core::{
    Backbone, BackboneConfig, ContextConfig, ContextLmConfig, ContextLmError, FusionKind, InitialContextKind,
    LlamaConfig, Pooling, PredictorPositions, Source,
};
use contextlm_tests::{backbones, cpu, gpt2, ids, llama, neox};
use serde_json::{Value, json};

fn whole(backbone: BackboneConfig) -> Value {
    ContextLmConfig::new(backbone).with_context(ContextConfig::default()).to_json()
}

/// What reading or checking this config says.
fn error(config: &Value) -> ContextLmError {
    match ContextLmConfig::from_json(config).and_then(|config| config.validate()) {
        Err(error) => error,
        Ok(()) => panic!("{config} is accepted"),
    }
}

#[test]
fn errors_name_key_value_and_fix() {
    let set = |backbone: fn() -> BackboneConfig, place: &str, value: Value| {
        let mut config = whole(backbone());
        *config.pointer_mut(place).unwrap() = value;
        error(&config).to_string()
    };
    for (place, value, parts) in [
        ("/context/chunk_size", json!(0), ["chunk_size", "0", "at least 1"]),
        ("/context/chunk_size", json!(-4), ["chunk_size", "-4", "usize"]),
        ("/context/encoder_layers", json!(3), ["encoder_layers", "3", "at most"]),
        ("/context/fusion", json!("sum"), ["fusion", "sum", "normed_add"]),
        ("/context/pooling", json!("avg"), ["pooling", "avg", "mean"]),
        ("/context/source", json!(1), ["source", "1", "expected"]),
        ("/context/predictor_positions", json!("rotary"), ["predictor_positions", "rotary", "none"]),
        ("/context/predictor_norm", json!("yes"), ["predictor_norm", "yes", "boolean"]),
        ("/context/gate_init", json!(1e300), ["gate_init", "inf", "finite"]),
        ("/backbone/n_head", json!(3), ["n_head", "3", "divide n_embd = 16"]),
        ("/backbone/n_head", json!(0), ["n_head", "0", "at least 1"]),
        ("/backbone/vocab_size", json!(0), ["vocab_size", "0", "at least 1"]),
        ("/backbone/resid_pdrop", json!(1.0), ["dropout", "1", "below 1"]),
        ("/backbone/activation_function", json!("swish"), ["activation_function", "swish", "gelu_new"]),
        ("/backbone/model_type", json!("llama9"), ["model_type", "llama9", "gpt2, gpt_neox, llama, mistral or qwen2"]),
    ] {
        let text = set(gpt2, place, value);
        assert!(parts.iter().all(|part| text.contains(part)), "{place}: {text}");
    }
    for (place, value, parts) in [
        ("/backbone/num_attention_heads", json!(5), ["num_attention_heads", "5", "divide hidden_size = 16"]),
        ("/backbone/rotary_pct", json!(1.5), ["rotary_pct", "1.5", "from 0 to 1"]),
        ("/backbone/hidden_act", json!("relu9"), ["hidden_act", "relu9", "gelu"]),
    ] {
        let text = set(neox, place, value);
        assert!(parts.iter().all(|part| text.contains(part)), "{place}: {text}");
    }
    for (place, value, parts) in [
        ("/backbone/num_key_value_heads", json!(3), ["num_key_value_heads", "3", "divide num_attention_heads = 4"]),
        ("/backbone/head_dim", json!(7), ["rotary dimensions", "7", "even"]),
        ("/backbone/hidden_act", json!("gelu"), ["hidden_act", "gelu", "silu"]),
        ("/backbone/model_type", json!("mistral"), ["sliding_window", "4096", "max_position_embeddings = 5000"]),
    ] {
        let long = || match llama() {
            BackboneConfig::Llama(config) => {
                BackboneConfig::Llama(LlamaConfig { max_position_embeddings: 5000, ..config })
            }
            other => other,
        };
        let text = set(long, place, value);
        assert!(parts.iter().all(|part| text.contains(part)), "{place}: {text}");
    }
}

#[test]
fn interleave_needs_a_block_after_the_encoder() {
    let context = ContextConfig { fusion: FusionKind::Interleave, encoder_layers: 2, ..ContextConfig::default() };
    let config = ContextLmConfig::new(gpt2()).with_context(context);
    for error in [config.validate().unwrap_err(), config.init(&cpu()).unwrap_err()] {
        assert!(
            matches!(&error, ContextLmError::Context { key: "encoder_layers", value, .. } if value == "2"),
            "{error}"
        );
    }
}

#[test]
fn an_unknown_key_names_the_nearest() {
    let mut config = whole(gpt2());
    config["context"]["chunksize"] = json!(4);
    let error = error(&config);
    let fits = matches!(&error, ContextLmError::UnknownKey { key, nearest: "chunk_size", .. } if key == "chunksize");
    assert!(fits, "{error}");
}

#[test]
fn an_unknown_preset_names_all() {
    let error = ContextLmConfig::preset("pythia-9b").unwrap_err();
    assert!(matches!(error, ContextLmError::UnknownPreset { .. }));
    let text = error.to_string();
    assert!(ContextLmConfig::presets().iter().all(|name| text.contains(name)) && text.contains("pythia-9b"), "{text}");
}

#[test]
fn shapes_of_json_that_are_no_config() {
    for config in [
        json!(null),
        json!([]),
        json!("gpt2"),
        json!({}),
        json!({"model_type": null}),
        json!({"model_type": "contextlm"}),
        json!({"model_type": "contextlm", "backbone": []}),
        json!({"model_type": "contextlm", "backbone": {"model_type": "contextlm"}}),
        json!({"model_type": "contextlm", "backbone": {"model_type": "gpt2"}, "context": 3}),
    ] {
        assert!(!error(&config).to_string().is_empty());
    }
}

/// Every key with every kind of wrong value: an error or a model, never a panic.
#[test]
fn no_mutated_config_panics() {
    let values = [
        json!(null),
        json!(-1),
        json!(0),
        json!(1),
        json!(3),
        json!(0.5),
        json!(-0.5),
        json!(1e308),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(4_000_000_000u64),
        json!(i32::MAX),
        json!(""),
        json!("none"),
        json!(true),
        json!([]),
        json!({}),
    ];
    let (mut tried, mut accepted, mut ran) = (0, 0, 0);
    for backbone in backbones() {
        let original = whole(backbone);
        for table in ["", "/backbone", "/context"] {
            let keys: Vec<String> = original.pointer(table).unwrap().as_object().unwrap().keys().cloned().collect();
            for key in keys.iter().map(String::as_str).chain(["rope_parameters", "n_inner", "rope_scaling"]) {
                for value in &values {
                    let mut config = original.clone();
                    config.pointer_mut(table).unwrap()[key] = value.clone();
                    tried += 1;
                    let Ok(config) = ContextLmConfig::from_json(&config) else { continue };
                    config.to_json();
                    if config.validate().is_err() {
                        continue;
                    }
                    accepted += 1;
                    // A model of many layers is a valid one that this test does not build.
                    let layers = config.context.as_ref().map_or(0, |context| context.predictor_layers);
                    if config.backbone.layers().max(layers) <= 8 {
                        let model = config.init(&cpu()).unwrap();
                        assert!(model.parameters().total > 0);
                        // What is small enough to be drawn runs too.
                        if model.parameters().total < 100_000 {
                            let length = 5.min(model.backbone.spec().max_positions);
                            let logits = model.forward(ids(&vec![0; length], 1, &cpu()));
                            assert_eq!(logits.dims()[1], length);
                            ran += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(tried > 500 && accepted > 50 && accepted < tried && ran > 50, "{ran} of {accepted} of {tried}");
}

#[test]
fn missing_keys_take_the_defaults_and_all_are_written() {
    let config = json!({"model_type": "contextlm", "backbone": {"model_type": "gpt2"}, "context": {}});
    let read = ContextLmConfig::from_json(&config).unwrap();
    let context = read.context.clone().unwrap();
    let expected = ContextConfig {
        chunk_size: 4,
        encoder_layers: 1,
        pooling: Pooling::Mean,
        source: Source::Predicted,
        predictor_layers: 2,
        predictor_positions: None,
        predictor_norm: true,
        fusion: FusionKind::NormedAdd,
        gate_init: 0.1,
        initial_context: InitialContextKind::Learned,
    };
    assert_eq!(context, expected);
    assert_eq!(
        read.to_json()["context"],
        json!({
            "chunk_size": 4, "encoder_layers": 1, "pooling": "mean", "source": "predicted", "predictor_layers": 2,
            "predictor_positions": "none", "predictor_norm": true, "fusion": "normed_add", "gate_init": 0.1f32,
            "initial_context": "learned"
        })
    );
    assert_eq!(read.to_json()["architectures"], json!(["ContextLMForCausalLM"]));
    assert_eq!(whole(neox())["context"]["predictor_positions"], json!("rotary"));
}

/// A misspelt table does not make a baseline of a model.
#[test]
fn a_misspelt_context_is_no_plain_model() {
    for key in ["contxt", "Context", "contexts", "conetxt"] {
        let mut config = json!({ "model_type": "contextlm", "backbone": { "model_type": "gpt2" } });
        assert!(ContextLmConfig::from_json(&config).unwrap().context.is_none());
        config[key] = json!({ "chunk_size": 3 });
        let error = ContextLmConfig::from_json(&config).unwrap_err();
        assert!(matches!(error, ContextLmError::UnknownKey { nearest: "context", .. }), "{error}");
        config["context"] = json!({});
        assert!(ContextLmConfig::from_json(&config).is_ok(), "where both are there, the other one is somebody's own");
    }
}

#[test]
fn config_json_there_and_back() {
    let mut config = whole(neox());
    config["dtype"] = json!("float32");
    config["backbone"]["bos_token_id"] = json!(0);
    config["backbone"]["surprise"] = json!({"kept": [1, 2]});
    config["context"]["predictor_positions"] = json!("none");
    config["context"]["pooling"] = json!("learned");
    let read = ContextLmConfig::from_json(&config).unwrap();
    assert_eq!(read.to_json(), config);
    assert_eq!(read.context.as_ref().unwrap().predictor_positions, Some(PredictorPositions::None));
    let text = serde_json::to_string(&read).unwrap();
    assert_eq!(serde_json::from_str::<ContextLmConfig>(&text).unwrap(), read);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), config);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, &text).unwrap();
    assert_eq!(ContextLmConfig::from_file(&path).unwrap(), read);
    std::fs::write(&path, "{").unwrap();
    let error = ContextLmConfig::from_file(&path).unwrap_err();
    assert!(error.to_string().contains("config.json"), "{error}");
}

#[test]
fn a_hugging_face_config_is_a_plain_model() {
    let config = json!({"model_type": "gpt2", "n_layer": 2, "n_embd": 64, "n_head": 2, "surprise": 1});
    let read = ContextLmConfig::from_json(&config).unwrap();
    assert!(read.context.is_none() && read.backbone.layers() == 2);
    assert_eq!(read.to_json()["surprise"], json!(1));
    assert_eq!(read.to_json()["vocab_size"], json!(50257));
}

/// Both spellings of NeoX's rotary settings give the same model, and are written as they were read.
#[test]
fn both_dialects_of_neox() {
    let common = json!({
        "model_type": "gpt_neox", "vocab_size": 23, "hidden_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 64
    });
    let read = |extra: Value| {
        let mut config = common.clone();
        config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let read = ContextLmConfig::from_json(&config).unwrap();
        for (key, value) in config.as_object().unwrap() {
            assert_eq!(&read.to_json()[key], value, "{key}");
        }
        let BackboneConfig::GptNeoX(config) = read.backbone else { unreachable!() };
        config.block().unwrap().rotary.unwrap()
    };
    let old = read(json!({"rotary_pct": 0.5, "rotary_emb_base": 5000.0, "torch_dtype": "float16"}));
    let new = json!({"partial_rotary_factor": 0.5, "rope_theta": 5000.0, "rope_type": "default"});
    let new = read(json!({"rope_parameters": new, "dtype": "float16"}));
    assert_eq!(old, new);
    assert_eq!((old.dimensions, old.theta), (8, 5000.0));
    let default = read(json!({}));
    assert_eq!((default.dimensions, default.theta), (4, 10_000.0));
}

/// Configs of the Llama family as transformers 4 and 5 write them come out as they went in, `model_type` and keys that are
/// not used here included, and a plain one is the one inside a ContextLM's.
#[test]
fn both_dialects_of_the_llama_family() {
    let llama3 = |theta: Value| {
        let mut settings = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16
        });
        if !theta.is_null() {
            settings["rope_theta"] = theta;
        }
        settings
    };
    let dialects = [
        json!({"rope_theta": 500000.0, "rope_scaling": llama3(json!(null)), "torch_dtype": "bfloat16"}),
        json!({"rope_parameters": llama3(json!(500000.0)), "dtype": "bfloat16"}),
    ];
    let mut rotaries = Vec::new();
    for model_type in ["llama", "mistral", "qwen2"] {
        for dialect in &dialects {
            let mut config = json!({
                "model_type": model_type, "vocab_size": 23, "hidden_size": 32, "num_hidden_layers": 1,
                "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64, "sliding_window": null,
                "max_position_embeddings": 64, "surprise": {"kept": [1, 2]}
            });
            config.as_object_mut().unwrap().extend(dialect.as_object().unwrap().clone());
            let read = ContextLmConfig::from_json(&config).unwrap();
            let written = read.to_json();
            for (key, value) in config.as_object().unwrap() {
                assert_eq!(&written[key], value, "{key}");
            }
            assert_eq!(ContextLmConfig::from_json(&written).unwrap(), read);
            let whole = read.clone().with_default_context();
            assert_eq!(whole.to_json()["backbone"], written);
            assert_eq!(ContextLmConfig::from_json(&whole.to_json()).unwrap().backbone, read.backbone);
            read.validate().unwrap();
            let BackboneConfig::Llama(config) = read.backbone else { unreachable!() };
            let block = config.block().unwrap();
            assert_eq!(block.attention.qkv_bias, model_type == "qwen2");
            rotaries.push(block.rotary.unwrap());
        }
    }
    assert!(rotaries.iter().all(|rotary| rotary == &rotaries[0] && rotary.scaling.is_some()));
    assert_eq!(rotaries[0].theta, 500000.0);
}

/// Whatever is accepted can be counted: no size of it and no sum of them overflows.
#[test]
fn sizes_are_limited_together() {
    let sizes = [2_u64, 1 << 8, 1 << 16, 1 << 24, (1 << 31) - 2];
    let (mut accepted, mut refused) = (0, 0);
    let backbones: [fn(u64, u64, u64) -> Value; 3] = [
        |width, inner, others| {
            json!({"model_type": "gpt2", "n_embd": width, "n_head": 1, "n_layer": 2, "n_inner": inner,
                "vocab_size": others, "n_positions": others})
        },
        |width, inner, others| {
            json!({"model_type": "gpt_neox", "hidden_size": width, "num_attention_heads": 1, "num_hidden_layers": 2,
                "rotary_pct": 1.0, "intermediate_size": inner, "vocab_size": inner, "max_position_embeddings": others})
        },
        |width, inner, others| {
            json!({"model_type": "llama", "hidden_size": width, "num_attention_heads": 1, "head_dim": others,
                "num_hidden_layers": 2, "intermediate_size": inner, "vocab_size": inner,
                "max_position_embeddings": others})
        },
    ];
    for backbone in backbones {
        for (width, inner) in sizes.into_iter().flat_map(|width| sizes.map(|inner| (width, inner))) {
            for (others, chunk_size) in sizes.into_iter().flat_map(|others| sizes.map(|chunk| (others, chunk))) {
                for fusion in ["concat", "interleave"] {
                    let config = json!({"model_type": "contextlm", "backbone": backbone(width, inner, others),
                        "context": {"chunk_size": chunk_size, "pooling": "learned", "fusion": fusion}});
                    let config = ContextLmConfig::from_json(&config).unwrap();
                    let Ok(model) = config.init(&cpu()) else {
                        assert!(matches!(config.validate(), Err(ContextLmError::TooLarge { .. })));
                        refused += 1;
                        continue;
                    };
                    let flops = model.flops_per_token(model.backbone.spec().max_positions).unwrap();
                    assert!(model.parameters().total <= 1 << 53 && flops.total <= 1 << 53);
                    accepted += 1;
                }
            }
        }
    }
    assert!(accepted > 500 && refused > 500, "{accepted} accepted, {refused} refused");
    // The largest model whose weights are published, with every position of its cache.
    let large = json!({"model_type": "llama", "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126,
        "num_attention_heads": 128, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072});
    ContextLmConfig::from_json(&large).unwrap().validate().unwrap();
}
