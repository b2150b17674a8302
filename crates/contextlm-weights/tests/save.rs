//! What is written is read again, bit by bit, and the way it is written loses nothing.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::{Scramble, cpu, fixture, logits, parameters, read_file};
use contextlm_core::{
    Backbone, BackboneConfig, ContextConfig, ContextLm, ContextLmConfig, FusionKind, Gpt2Config, GptNeoXConfig,
    InitialContextKind, LlamaConfig, Module, ModulePath, Pooling, Source,
};
use contextlm_weights::{
    FloatType, LoadOptions, ModelCard, SaveOptions, load, load_into, load_with, save, save_tensors,
};
use half::{bf16, f16};
use proptest::prelude::*;

fn backbones() -> [BackboneConfig; 4] {
    let gpt2 =
        Gpt2Config { vocab_size: 31, n_positions: 12, n_embd: 16, n_layer: 2, n_head: 2, ..Gpt2Config::default() };
    let neox = GptNeoXConfig {
        vocab_size: 31,
        max_position_embeddings: 12,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 40,
        ..GptNeoXConfig::default()
    };
    let untied = Gpt2Config { tie_word_embeddings: false, ..gpt2.clone() };
    let llama = LlamaConfig {
        vocab_size: 31,
        max_position_embeddings: 12,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        intermediate_size: 24,
        attention_bias: true,
        ..LlamaConfig::default()
    };
    [
        BackboneConfig::Gpt2(gpt2),
        BackboneConfig::Gpt2(untied),
        BackboneConfig::GptNeoX(neox),
        BackboneConfig::Llama(llama),
    ]
}

/// A model whose parameters are all different.
fn scrambled(config: &ContextLmConfig) -> ContextLm {
    config.init(&cpu()).unwrap().map(&mut Scramble(ModulePath::default()))
}

fn save_to(dir: &Path, config: &ContextLmConfig, options: &SaveOptions) -> ContextLm {
    let model = scrambled(config);
    save(&model, config, dir, options).unwrap();
    model
}

fn assert_same(saved: &ContextLm, config: &ContextLmConfig, dir: &Path) {
    let loaded = load(dir, &cpu()).unwrap();
    assert!(parameters(&loaded.model) == parameters(saved));
    assert_eq!(logits(&loaded.model), logits(saved));
    assert_eq!(loaded.config.to_json(), config.to_json());
}

fn contexts() -> impl Strategy<Value = Option<ContextConfig>> {
    let fusions = [
        FusionKind::Add,
        FusionKind::NormedAdd,
        FusionKind::GatedAdd,
        FusionKind::ProjectedAdd,
        FusionKind::Concat,
        FusionKind::Interleave,
    ];
    let poolings = [Pooling::Mean, Pooling::Last, Pooling::First, Pooling::Max, Pooling::Learned];
    let kinds = (0..fusions.len(), 0..poolings.len(), any::<[bool; 3]>());
    proptest::option::of((kinds, 1..6_usize, 0..2_usize, 0..3_usize).prop_map(
        move |((fusion, pooling, [constant, zero, predictor_norm]), chunk_size, encoder_layers, predictor_layers)| {
            ContextConfig {
                fusion: fusions[fusion],
                pooling: poolings[pooling],
                source: if constant { Source::Constant } else { Source::Predicted },
                initial_context: if zero { InitialContextKind::Zero } else { InitialContextKind::Learned },
                predictor_norm,
                chunk_size,
                encoder_layers,
                predictor_layers,
                ..ContextConfig::default()
            }
        },
    ))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_model_is_read_as_it_was_written(
        context in contexts(), family in 0..4_usize, max_shard_bytes in prop_oneof![1..20_000_u64, Just(u64::MAX)],
    ) {
        let mut config = ContextLmConfig::new(backbones()[family].clone());
        config.context = context;
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("a/model");
        let options = SaveOptions { max_shard_bytes, ..SaveOptions::default() };
        let model = save_to(&dir, &config, &options);
        assert_same(&model, &ContextLmConfig::from_file(dir.join("config.json")).unwrap(), &dir);
        prop_assert_eq!(dir.join("model.safetensors.index.json").exists(), !dir.join("model.safetensors").exists());
        prop_assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
    }
}

#[test]
fn names_and_layout_are_those_of_transformers() {
    // What transformers wrote comes out with the same names, shapes and values, and what the PyTorch reference wrote.
    let mut count = 0;
    for folder in [fixture(""), fixture("contextlm")] {
        for theirs in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            // Version 5 calls NeoX's head lm_head; what we write is what both versions read.
            if !theirs.join("config.json").exists() || theirs.ends_with("v5_neox") {
                continue;
            }
            let loaded = load(&theirs, &cpu()).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let ours = folder.path().join("model");
            save(&loaded.model, &loaded.config, &ours, &SaveOptions::default()).unwrap();
            let values = |dir: &Path| read_file(&dir.join("model.safetensors"));
            assert!(values(&ours) == values(&theirs), "{}", theirs.display());
            count += 1;
        }
    }
    assert_eq!(count, 15 + 27);
}

#[test]
fn half_precision_is_rounded_to_the_nearest() {
    let [gpt2, ..] = backbones();
    let mut config = ContextLmConfig::new(gpt2);
    if let BackboneConfig::Gpt2(gpt2) = &mut config.backbone {
        gpt2.other.insert("torch_dtype".into(), "float32".into());
    }
    for (dtype, round) in [
        (FloatType::Bf16, (|x| bf16::from_f32(x).to_f32()) as fn(f32) -> f32),
        (FloatType::F16, |x| f16::from_f32(x).to_f32()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("model");
        let model = save_to(&dir, &config, &SaveOptions { dtype, ..SaveOptions::default() });
        let loaded = load(&dir, &cpu()).unwrap();
        for ((path, (_, saved)), (_, (_, found))) in parameters(&model).into_iter().zip(parameters(&loaded.model)) {
            assert!(saved.iter().zip(&found).all(|(saved, found)| round(*saved) == *found), "{path}");
        }
        assert_eq!(loaded.config.to_json()["torch_dtype"], dtype.name());

        // In memory as in the file, it goes out as it came in.
        let mut options = LoadOptions::default();
        options.dtype = dtype;
        let halves = load_with(&dir, &cpu(), &options).unwrap().model;
        let (halves_dtype, values) = (halves.backbone.head().dtype(), parameters(&halves));
        assert_eq!(format!("{halves_dtype:?}").to_lowercase(), format!("{dtype:?}").to_lowercase());
        assert_eq!(values, parameters(&loaded.model));
        let again = folder.path().join("again");
        save(&halves, &loaded.config, &again, &SaveOptions { dtype, ..SaveOptions::default() }).unwrap();
        let file = |dir: &Path| fs::read(dir.join("model.safetensors")).unwrap();
        assert!(file(&again) == file(&dir));
    }
}

#[test]
fn a_directory_is_replaced_only_if_asked_for() {
    let [gpt2, _, neox, _] = backbones().map(ContextLmConfig::new);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("model");
    fs::create_dir(&dir).unwrap(); // an empty one is taken
    let first = save_to(&dir, &gpt2, &SaveOptions::default());
    let error = save(&first, &gpt2, &dir, &SaveOptions::default()).unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
    assert_same(&first, &gpt2, &dir);

    let overwrite = SaveOptions { overwrite: true, ..SaveOptions::default() };
    let second = save_to(&dir, &neox, &overwrite);
    assert_same(&second, &neox, &dir);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let file = folder.path().join("file");
    fs::write(&file, "kept").unwrap();
    let error = save(&second, &neox, &file, &overwrite).unwrap_err().to_string();
    assert!(error.contains("no directory") && fs::read_to_string(&file).unwrap() == "kept", "{error}");
    if cfg!(target_os = "linux") {
        // Nobody can make a folder there.
        let error = save(&second, &neox, "/proc/model", &overwrite).unwrap_err().to_string();
        assert!(error.starts_with("/proc/model: no directory can be made in /proc: "), "{error}");
    }
    let below_a_file = file.join("model");
    assert!(save(&second, &neox, &below_a_file, &overwrite).unwrap_err().to_string().contains("file"));
}

#[test]
fn companions_and_a_card_go_along() {
    let config = ContextLmConfig::new(backbones()[2].clone()).with_default_context();
    let source = tempfile::tempdir().unwrap();
    for name in ["tokenizer.json", "generation_config.json", "merges.txt", "pytorch_model.bin"] {
        fs::write(source.path().join(name), name).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("model");
    let options = SaveOptions {
        companions: Some(source.path().into()),
        card: ModelCard { base: Some("EleutherAI/pythia-14m".into()), training_data: None },
        ..SaveOptions::default()
    };
    let files = save(&scrambled(&config), &config, &dir, &options).unwrap();
    let expected =
        ["README.md", "config.json", "generation_config.json", "merges.txt", "model.safetensors", "tokenizer.json"];
    assert_eq!(files, expected);
    assert_eq!(fs::read_to_string(dir.join("merges.txt")).unwrap(), "merges.txt");
    let card = fs::read_to_string(dir.join("README.md")).unwrap();
    assert!(
        card.contains("base_model: EleutherAI/pythia-14m") && card.contains("| `fusion` | \"normed_add\" |"),
        "{card}"
    );
}

#[test]
fn a_backbone_of_ones_own_is_saved_without_a_config() {
    let config = ContextLmConfig::new(backbones()[0].clone());
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("model");
    let model = scrambled(&config);
    assert_eq!(save_tensors(&model, &dir, &SaveOptions::default()).unwrap(), ["model.safetensors"]);
    let loaded = load_into(config.init_seeded(9, &cpu()).unwrap(), &dir).unwrap();
    assert!(parameters(&loaded) == parameters(&model));
}

/// What is written is for others: nothing of another place goes into it, and nothing but a model is replaced.
#[cfg(unix)]
#[test]
fn companions_are_files_of_the_model() {
    use std::os::unix::fs::symlink;

    let config = ContextLmConfig::new(backbones()[0].clone());
    let model = scrambled(&config);
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (folder.path().join("source"), folder.path().join("out"));
    fs::create_dir(&source).unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    let options = |source: &Path| SaveOptions { companions: Some(source.into()), ..SaveOptions::default() };
    let refused = |reason: &str| {
        let error = save(&model, &config, &out, &options(&source)).unwrap_err().to_string();
        assert!(error.contains("merges.txt") && error.contains(reason) && !out.exists(), "{error}");
        fs::remove_file(source.join("merges.txt")).unwrap();
    };
    symlink(folder.path().join("secret"), source.join("merges.txt")).unwrap();
    refused("a link out of its directory");
    fs::File::create(source.join("merges.txt")).unwrap().set_len(1 << 33).unwrap();
    refused("8589934592 bytes, at most");
    fs::write(source.join("words"), "of the model").unwrap();
    symlink("words", source.join("merges.txt")).unwrap();
    // What the hub's cache has.
    let repository = folder.path().join("models--org--name");
    let snapshot = repository.join("snapshots/abc");
    fs::create_dir_all(repository.join("blobs")).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(repository.join("blobs/0123"), "of the model").unwrap();
    symlink("../../blobs/0123", snapshot.join("merges.txt")).unwrap();
    for source in [&source, &snapshot] {
        let again = SaveOptions { overwrite: true, ..options(source) };
        save(&model, &config, &out, &again).unwrap();
        let copy = out.join("merges.txt");
        assert!(!copy.is_symlink() && fs::read_to_string(copy).unwrap() == "of the model");
    }
}

#[test]
fn only_a_model_that_is_not_read_is_overwritten() {
    let config = ContextLmConfig::new(backbones()[0].clone());
    let model = scrambled(&config);
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let (kept, source) = (home.join("precious.txt"), home.join("model"));
    fs::create_dir_all(&source).unwrap();
    fs::write(&kept, "precious").unwrap();
    let options = SaveOptions { overwrite: true, companions: Some(source.clone()), ..SaveOptions::default() };
    let error = |out: &Path| save(&model, &config, out, &options).unwrap_err().to_string();
    assert!(error(&home).contains("has no model in it"));
    fs::write(home.join("config.json"), "{}").unwrap();
    assert!(error(&home).contains("has the model in it that is read"));
    assert!(error(&home.join("model/..")).contains("has the model in it that is read"));
    assert!(kept.exists() && source.exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // The directory itself, and one in it.
    for out in [source.clone(), source.join("out"), source] {
        save(&model, &config, &out, &options).unwrap();
    }
}
