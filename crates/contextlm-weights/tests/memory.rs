//! Loading and saving need little memory beside the model: at most two copies of the largest tensor and 50 MB. Its own
//! process, since the peak is that of the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::cpu;
use contextlm_core::ContextLmConfig;
use contextlm_weights::{FloatType, LoadOptions, SaveOptions, load, load_with, save};
use peak_alloc::PeakAlloc;
use serde_json::{Map, json};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// One test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Anonymous memory of this process in bytes.
fn anonymous() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// A directory of a GPT-NeoX whose values, all zeros, take no space on disk; with the bytes of its values, and of the largest
/// tensor, in f32.
fn sparse() -> (tempfile::TempDir, usize, usize) {
    let backbone = json!({
        "model_type": "gpt_neox", "vocab_size": 30_000, "hidden_size": 512, "num_hidden_layers": 6,
        "num_attention_heads": 8, "intermediate_size": 2048,
    });
    let model = ContextLmConfig::from_json(&backbone).unwrap().init(&cpu()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), backbone.to_string()).unwrap();
    let (mut header, mut end) = (Map::new(), 0);
    for tensor in model.tensors() {
        let from = end;
        end += 4 * tensor.shape.iter().product::<usize>();
        let entry = json!({ "dtype": "F32", "shape": tensor.stored_shape(), "data_offsets": [from, end] });
        header.insert(tensor.name.name, entry);
    }
    let header = json!(header).to_string();
    let mut file = File::create(dir.path().join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + end) as u64).unwrap();
    (dir, 4 * model.parameters().total, 4 * 30_000 * 512)
}

#[test]
fn the_peak_is_the_model_and_little_more() {
    let _alone = ALONE.lock();
    let (dir, bytes, largest) = sparse();
    let start = anonymous();
    let mut shards = Vec::new();
    // The smaller one first: of what is freed, some stays with the process.
    for (dtype, share) in [(FloatType::Bf16, 2), (FloatType::F32, 1)] {
        let (bytes, largest) = (bytes / share, largest / share);
        let mut options = LoadOptions::default();
        options.dtype = dtype;
        let (loaded, peak) = peak_during(|| load_with(dir.path(), &cpu(), &options).unwrap());
        let used = peak - start;
        println!("{dtype:?}: model {bytes}, largest tensor {largest}, peak of loading {used}");
        assert!(used >= bytes - (8 << 20), "the samples missed the model: {used} of {bytes}");
        assert!(used <= bytes + 2 * largest + 50_000_000, "{dtype:?}: {used} for a model of {bytes}");

        let (out, before) = (dir.path().join(dtype.name()), anonymous());
        let options = SaveOptions { dtype, max_shard_bytes: bytes as u64 / 4, ..SaveOptions::default() };
        let (_, peak) = peak_during(|| save(&loaded.model, &loaded.config, &out, &options).unwrap());
        let used = peak.saturating_sub(before);
        println!("{dtype:?}: peak of saving {used}");
        assert!(used <= 2 * largest + 50_000_000, "{dtype:?}: {used} to save a model of {bytes}");
        drop(loaded);
        shards.push((out, dtype));
    }
    for (out, dtype) in shards {
        assert!(out.join("model.safetensors.index.json").exists());
        let before = anonymous();
        let (loaded, peak) = peak_during(|| load(&out, &cpu()).unwrap());
        let used = peak.saturating_sub(before);
        println!("{dtype:?}: peak of loading its shards in f32 {used}");
        assert!(used <= bytes + 2 * largest + 50_000_000, "{dtype:?}: {used} for the shards of a model of {bytes}");
        drop(loaded);
    }
}

/// Whatever a file says: no more is reserved than a few times what it holds itself.
#[test]
fn what_a_file_cannot_hold_is_not_reserved() {
    let _alone = ALONE.lock();
    let fixture = common::fixture("gpt2");
    let read = |name: &str| std::fs::read(fixture.join(name)).unwrap();
    let (config, weights) = (read("config.json"), read("model.safetensors"));
    let with = |key: &str, value: u64| {
        let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        config[key] = json!(value);
        config.to_string().into_bytes()
    };
    let contexts = |key: &str, value: u64| {
        let backbone: serde_json::Value = serde_json::from_slice(&config).unwrap();
        let mut context = json!({ "pooling": "learned" });
        context[key] = json!(value);
        json!({ "model_type": "contextlm", "backbone": backbone, "context": context }).to_string().into_bytes()
    };
    let header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let huge =
        header(r#"{"a":{"dtype":"F32","shape":[4294967295,4294967295],"data_offsets":[0,18446744073709551615]}}"#);
    // As many tensors as layers, all of them empty.
    let empty = |n: u64| format!(r#""{n}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
    let empty = header(&format!("{{{}}}", (0..10_000).map(empty).collect::<Vec<_>>().join(",")));
    let (most, tensors, index) = (i32::MAX as u64, "model.safetensors", "model.safetensors.index.json");
    for (what, config, name, bytes, length) in [
        ("a header's length", config.clone(), tensors, u64::MAX.to_le_bytes().to_vec(), 0),
        ("a header of 90 MB", config.clone(), tensors, 90_000_000_u64.to_le_bytes().to_vec(), 1000),
        ("a header of 100 MB", config.clone(), tensors, 100_000_001_u64.to_le_bytes().to_vec(), 1 << 28),
        ("a shape", config.clone(), tensors, huge, 0),
        ("vocabulary", with("vocab_size", most), tensors, weights.clone(), 0),
        ("positions", with("n_positions", most), tensors, weights.clone(), 0),
        ("layers", with("n_layer", 10_000), tensors, weights.clone(), 0),
        ("empty layers", with("n_layer", 1100), tensors, empty, 0),
        ("chunks", contexts("chunk_size", most), tensors, weights.clone(), 0),
        ("predictor", contexts("predictor_layers", 10_000), tensors, weights.clone(), 0),
        ("a config without end", b"{".to_vec(), "config.json", b"{".to_vec(), 1 << 30),
        ("an index without end", config.clone(), index, b"{".to_vec(), 1 << 30),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), &config).unwrap();
        let mut file = File::create(dir.path().join(name)).unwrap();
        file.write_all(&bytes).unwrap();
        // What is more takes no space on disk.
        file.set_len(length.max(bytes.len() as u64)).unwrap();
        HEAP.reset_peak_usage();
        let before = HEAP.current_usage();
        let error = load(dir.path(), &cpu()).unwrap_err().to_string();
        let used = HEAP.peak_usage().saturating_sub(before);
        let held = config.len() + bytes.len();
        println!("{what}: {used} bytes reserved, {held} in the files: {error:.120}");
        // A block is 16 KB before it has weights.
        let times = if what == "empty layers" { 64 } else { 8 };
        assert!(used <= times * held + (1 << 20), "{what}: {used} bytes reserved for files of {held}: {error}");
    }
}

/// What a call returns, and the most anonymous memory of the process meanwhile.
fn peak_during<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let (done, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let sampler = std::thread::spawn({
        let (done, peak) = (done.clone(), peak.clone());
        move || {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let result = call();
    peak.fetch_max(anonymous(), Ordering::Relaxed);
    done.store(true, Ordering::Relaxed);
    sampler.join().unwrap();
    (result, peak.load(Ordering::Relaxed))
}
