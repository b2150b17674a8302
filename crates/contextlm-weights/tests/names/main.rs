//! Every way in which files name and store the tensors of a model.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod context;

use std::collections::BTreeMap;
use std::fs;

use burn::module::Param;
use burn::tensor::Tensor;
use common::{
    Values, cpu, directory, fixture, laid_out, logits, parameters, read_file, tensors_of, write_as, write_file,
};
use contextlm_core::{AnyBackbone, ContextLm, ContextLmConfig, Module, TensorLayout};
use contextlm_weights::{FloatType, KeyMap, LoadOptions, Problem, WeightsError, load, load_into, load_with};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

/// Logits of a fixture as it is.
fn plain(name: &str) -> Vec<f32> {
    logits(&load(fixture(name), &cpu()).unwrap().model)
}

fn problems(error: WeightsError) -> Vec<Problem> {
    match error {
        WeightsError::Tensors { problems, .. } => problems,
        other => panic!("{other}"),
    }
}

/// The fixture's tensors under other names.
fn renamed(name: &str, rename: impl Fn(&str) -> String) -> BTreeMap<String, Values> {
    tensors_of(name).into_iter().map(|(name, values)| (rename(&name), values)).collect()
}

#[test]
fn gpt2_without_prefix_and_with_buffers_is_the_same_model() {
    let mut tensors = renamed("gpt2", |name| name.trim_start_matches("transformer.").into());
    for (name, shape) in [("h.0.attn.bias", vec![1, 1, 12, 12]), ("h.1.attn.masked_bias", vec![1])] {
        tensors.insert(name.into(), (shape.clone(), vec![1.0; shape.iter().product()]));
    }
    let loaded = load(directory("gpt2", &tensors).path(), &cpu()).unwrap();
    assert_eq!(logits(&loaded.model), plain("gpt2"));
}

#[test]
fn neox_head_has_two_names_and_its_buffers_are_known() {
    let mut tensors = renamed("neox", |name| name.replace("embed_out.", "lm_head."));
    for buffer in ["attention.bias", "attention.masked_bias", "attention.rotary_emb.inv_freq"] {
        tensors.insert(format!("gpt_neox.layers.0.{buffer}"), (vec![1], vec![1.0]));
    }
    let loaded = load(directory("neox", &tensors).path(), &cpu()).unwrap();
    assert_eq!(logits(&loaded.model), plain("neox"));
}

#[test]
fn a_head_in_a_tied_model_must_be_the_embedding() {
    for (name, head, embedding) in [
        ("gpt2", "lm_head.weight", "transformer.wte.weight"),
        ("neox_tied", "embed_out.weight", "gpt_neox.embed_in.weight"),
        ("neox_tied", "lm_head.weight", "gpt_neox.embed_in.weight"),
        ("llama", "lm_head.weight", "model.embed_tokens.weight"),
    ] {
        let mut tensors = tensors_of(name);
        tensors.insert(head.into(), tensors[embedding].clone());
        let loaded = load(directory(name, &tensors).path(), &cpu()).unwrap();
        assert_eq!(logits(&loaded.model), plain(name));

        *tensors.get_mut(head).unwrap().1.last_mut().unwrap() += 1.0;
        let error = load(directory(name, &tensors).path(), &cpu()).unwrap_err();
        assert_eq!(problems(error), [Problem::Head { name: head.into(), embedding: embedding.into() }]);
    }
}

#[test]
fn old_llama_files_have_the_frequencies_as_a_buffer() {
    let mut tensors = tensors_of("llama_scaled");
    tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), (vec![8], vec![1.0; 8]));
    let loaded = load(directory("llama_scaled", &tensors).path(), &cpu()).unwrap();
    assert_eq!(logits(&loaded.model), plain("llama_scaled"));
}

/// Biases are expected where the config has them, and unexpected where it has none.
#[test]
fn biases_of_the_llama_family_are_those_of_the_config() {
    let name = "model.layers.1.self_attn.k_proj.bias";
    let mut tensors = tensors_of("qwen2");
    let (shape, values) = tensors.remove(name).unwrap();
    let error = load(directory("qwen2", &tensors).path(), &cpu()).unwrap_err();
    assert_eq!(problems(error), [Problem::Missing { name: name.into(), shape: shape.clone() }]);

    let mut tensors = tensors_of("mistral");
    tensors.insert(name.into(), (shape, values));
    let error = load(directory("mistral", &tensors).path(), &cpu()).unwrap_err();
    assert_eq!(problems(error), [Problem::Unexpected { name: name.into(), file: "model.safetensors".into() }]);
}

#[test]
fn what_the_config_says_decides_whether_a_head_is_expected() {
    let dir = directory("gpt2", &tensors_of("gpt2"));
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["tie_word_embeddings"] = json!(false);
    fs::write(&path, config.to_string()).unwrap();
    let error = load(dir.path(), &cpu()).unwrap_err();
    assert_eq!(problems(error), [Problem::Missing { name: "lm_head.weight".into(), shape: vec![61, 24] }]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let mut tensors = tensors_of("neox");
    let removed = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight";
    let (shape, _) = tensors.remove(removed).unwrap();
    tensors.insert("gpt_neox.layers.2.mlp.dense_h_to_4h.bias".into(), (vec![2], vec![0.0; 2]));
    tensors.insert("gpt_neox.final_layer_norm.bias".into(), (vec![4, 6], vec![0.0; 24]));
    let dir = directory("neox", &tensors);
    let error = load(dir.path(), &cpu()).unwrap_err();
    let text = error.to_string();
    assert_eq!(
        problems(error),
        [
            Problem::Missing { name: removed.into(), shape },
            Problem::Shape { name: "gpt_neox.final_layer_norm.bias".into(), expected: vec![24], found: vec![4, 6] },
            Problem::Unexpected {
                name: "gpt_neox.layers.2.mlp.dense_h_to_4h.bias".into(),
                file: "model.safetensors".into()
            },
        ],
        "{text}"
    );
    for part in ["missing: ", "unexpected: ", "wrong shape: ", "[4, 6]", removed] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_matrix_must_be_stored_the_way_round_that_its_family_stores_it() {
    let mut tensors = tensors_of("gpt2");
    let name = "transformer.h.0.mlp.c_fc.weight";
    tensors.insert(name.into(), laid_out(&tensors[name], TensorLayout::Transposed));
    let error = load(directory("gpt2", &tensors).path(), &cpu()).unwrap_err();
    let (expected, found) = (vec![24, 96], vec![96, 24]);
    assert_eq!(problems(error), [Problem::Shape { name: name.into(), expected, found }]);
}

#[test]
fn halves_are_read_exactly_and_other_types_refused() {
    let names: BTreeMap<_, _> = {
        let model = load(fixture("neox"), &cpu()).unwrap().model;
        model.tensors().into_iter().map(|tensor| (tensor.path, (tensor.name.name, tensor.name.layout))).collect()
    };
    let tensors = tensors_of("neox");
    let dir = directory("neox", &tensors);
    let file = dir.path().join("model.safetensors");
    let check = |half: &dyn Fn(f32) -> f32| {
        let loaded = load(dir.path(), &cpu()).unwrap();
        for (path, values) in parameters(&loaded.model) {
            let (name, layout) = &names[&path];
            let (shape, stored) = &tensors[name];
            let halved = (shape.clone(), stored.iter().map(|&value| half(value)).collect());
            assert_eq!(values, laid_out(&halved, *layout), "{path}");
        }
    };
    write_as(&file, &tensors, Dtype::BF16, |&value| bf16::from_f32(value).to_le_bytes().to_vec());
    check(&|value| bf16::from_f32(value).to_f32());
    write_as(&file, &tensors, Dtype::F16, |&value| f16::from_f32(value).to_le_bytes().to_vec());
    check(&|value| f16::from_f32(value).to_f32());

    write_as(&file, &tensors, Dtype::F64, |&value| f64::from(value).to_le_bytes().to_vec());
    let found = problems(load(dir.path(), &cpu()).unwrap_err());
    assert_eq!(found.len(), tensors.len());
    assert!(found.contains(&Problem::Type { name: "embed_out.weight".into(), found: "F64".into() }), "{found:?}");
}

/// A model that is filled with every kind of half, over and over: zeros, subnormals, infinities and NaN too.
#[test]
fn halves_become_what_pytorch_makes_of_them() {
    let model = load(fixture("neox"), &cpu()).unwrap().model;
    let bytes = fs::read(fixture("values").join("halves.safetensors")).unwrap();
    let halves = SafeTensors::deserialize(&bytes).unwrap();
    let converted = read_file(&fixture("values").join("expected.safetensors"));
    for (name, dtype) in [("bf16", Dtype::BF16), ("f16", Dtype::F16)] {
        let mut stored = halves.tensor(name).unwrap().data().iter().copied().cycle();
        let mut expected = converted[name].1.iter().copied().cycle();
        let (mut data, mut wanted) = (Vec::new(), BTreeMap::new());
        for tensor in model.tensors() {
            let shape = tensor.stored_shape();
            let count = shape.iter().product();
            let values = (shape.clone(), expected.by_ref().take(count).collect());
            wanted.insert(tensor.path, laid_out(&values, tensor.name.layout));
            data.push((tensor.name.name, shape, stored.by_ref().take(2 * count).collect::<Vec<u8>>()));
        }
        let views = data.iter().map(|(name, shape, data)| (name, TensorView::new(dtype, shape.clone(), data).unwrap()));
        let dir = directory("neox", &BTreeMap::new());
        fs::write(dir.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
        let found = parameters(&load(dir.path(), &cpu()).unwrap().model);
        assert_eq!(found.len(), wanted.len());
        let (mut subnormal, mut not_a_number) = (0, 0);
        for (path, (shape, values)) in found {
            assert_eq!(shape, wanted[&path].0);
            for (&value, &wanted) in values.iter().zip(&wanted[&path].1) {
                // All bits but those that say which NaN it is.
                let same = value.to_bits() == wanted.to_bits() || value.is_nan() && wanted.is_nan();
                assert!(same, "{name}, {path}: {value:e} is not {wanted:e}");
                subnormal += usize::from(wanted != 0.0 && wanted.abs() < 6.1e-5);
                not_a_number += usize::from(wanted.is_nan());
            }
        }
        assert!(subnormal > 10 && not_a_number > 10, "{name}");
    }
}

#[test]
fn shards_are_one_model() {
    let dir = directory("gpt2", &BTreeMap::new());
    fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    let (first, second): (BTreeMap<_, _>, BTreeMap<_, _>) =
        tensors_of("gpt2").into_iter().partition(|(name, _)| name.contains("h.0."));
    let mut map = BTreeMap::new();
    for (shard, tensors) in [("model-00001-of-00002.safetensors", first), ("model-00002-of-00002.safetensors", second)]
    {
        write_file(&dir.path().join(shard), &tensors);
        map.extend(tensors.into_keys().map(|name| (name, shard)));
    }
    let index = json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    assert_eq!(logits(&load(dir.path(), &cpu()).unwrap().model), plain("gpt2"));
}

/// The final norm of a NeoX model.
fn final_norm(model: &ContextLm) -> &Param<Tensor<1>> {
    match &model.backbone {
        AnyBackbone::GptNeoX(neox) => &neox.final_layer_norm.weight,
        other => panic!("{other:?}"),
    }
}

#[test]
fn loading_into_a_model_keeps_ids_and_whether_gradients_are_wanted() {
    let config = ContextLmConfig::from_file(fixture("neox").join("config.json")).unwrap();
    for device in [cpu(), cpu().autodiff()] {
        let model = config.init(&device).unwrap();
        let id = final_norm(&model).id;
        let loaded = load_into(model, fixture("neox")).unwrap();
        assert_eq!(final_norm(&loaded).id, id);
        assert_eq!(final_norm(&loaded).val().is_require_grad(), device.is_autodiff());
        assert!(final_norm(&loaded.train()).val().is_require_grad(), "train() must reach loaded parameters");
    }
}

#[test]
fn tensors_of_other_programs_are_renamed_by_a_map() {
    let tensors =
        tensors_of("neox").into_iter().map(|(name, values)| (name.replace("gpt_neox.", "model/"), values)).collect();
    let dir = directory("neox", &tensors);
    let path = dir.path().join("keys.txt");
    std::fs::write(&path, "model/(.*)   gpt_neox.$1\n").unwrap();
    assert!(load(dir.path(), &cpu()).is_err());
    let mut options = LoadOptions::default();
    options.key_map = Some(KeyMap::from_file(&path).unwrap());
    let loaded = load_with(dir.path(), &cpu(), &options).unwrap();
    let original = load(fixture("neox"), &cpu()).unwrap();
    assert!(parameters(&loaded.model) == parameters(&original.model));
    assert_eq!(loaded.tensors, loaded.model.tensors().len());
}

#[test]
fn tensors_without_a_use_are_listed_if_they_are_allowed() {
    let mut tensors = tensors_of("gpt2");
    tensors.insert("score.weight".into(), (vec![2], vec![1.0, 2.0]));
    let dir = directory("gpt2", &tensors);
    let error = load(dir.path(), &cpu()).unwrap_err().to_string();
    assert!(error.contains("unexpected: score.weight"), "{error}");
    let mut options = LoadOptions::default();
    options.allow_unused = true;
    let loaded = load_with(dir.path(), &cpu(), &options).unwrap();
    assert_eq!(loaded.unused, ["score.weight"]);
}

#[test]
fn values_that_are_not_finite_are_counted() {
    let mut tensors = tensors_of("gpt2");
    let values = &mut tensors.get_mut("transformer.ln_f.bias").unwrap().1;
    (values[0], values[1], values[2]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    // And one that is infinite in f16 only.
    let values = &mut tensors.get_mut("transformer.h.0.mlp.c_fc.weight").unwrap().1;
    (values[0], values[1]) = (f32::NAN, 1e30);
    let dir = directory("gpt2", &tensors);
    assert_eq!(load(dir.path(), &cpu()).unwrap().not_finite, 4);
    let mut halves = LoadOptions::default();
    halves.dtype = FloatType::F16;
    assert_eq!(load_with(dir.path(), &cpu(), &halves).unwrap().not_finite, 5);
    assert_eq!(load(fixture("gpt2"), &cpu()).unwrap().not_finite, 0);
}
