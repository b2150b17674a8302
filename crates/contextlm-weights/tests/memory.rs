//! Loading and saving need little memory beside the model: at most two copies of the largest tensor and 50 MB.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::cpu;
use contextlm_core::ContextLmConfig;
use contextlm_weights::{SaveOptions, load, save};
use serde_json::{Map, json};

/// Anonymous memory of this process in bytes.
fn anonymous() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn the_peak_is_the_model_and_little_more() {
    let backbone = json!({
        "model_type": "gpt_neox", "vocab_size": 1000, "hidden_size": 512, "num_hidden_layers": 24,
        "num_attention_heads": 8, "intermediate_size": 2048,
    });
    let model = ContextLmConfig::from_json(&backbone).unwrap().init(&cpu()).unwrap();
    let bytes = 4 * model.parameters().total;

    // A header, and data that takes no space on disk: all zeros.
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
    drop(model);

    let before = anonymous();
    let (loaded, peak) = peak_during(|| load(dir.path(), &cpu()).unwrap());
    let (used, largest) = (peak - before, 4 * 512 * 2048);
    println!("model {bytes}, peak of loading {used}");
    assert!(used >= bytes - (8 << 20), "the samples missed the model: {used} of {bytes}");
    assert!(used <= bytes + 2 * largest + 50_000_000, "{used} for a model of {bytes}");
    assert_eq!(4 * loaded.model.parameters().total, bytes);

    let (out, before) = (dir.path().join("out"), anonymous());
    let (_, peak) = peak_during(|| save(&loaded.model, &loaded.config, &out, &SaveOptions::default()).unwrap());
    let used = peak.saturating_sub(before);
    println!("peak of saving {used}");
    assert!(used <= 2 * largest + 50_000_000, "{used} to save a model of {bytes}");
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
