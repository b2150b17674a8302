use std::fs;
use std::process::Command;

use contextlm_bench::{Bench, Programs};
use contextlm_core::ContextLmConfig;
use contextlm_train::TrainDtype;
use serde_json::Value;

use crate::{fails, json_of, text};

/// A GPT-2 of one layer with 54848 parameters, measured as briefly as can be.
const SMALL: [&str; 15] = [
    "--set",
    "n_layer=1,n_embd=64,n_head=2,vocab_size=50,n_positions=24",
    "--rows",
    "2",
    "--length",
    "16",
    "--new-tokens",
    "4",
    "--steps",
    "2",
    "--warmup",
    "0",
    "--rounds",
    "2",
    "--threads=1",
];

fn bench(args: &[&str]) -> Value {
    json_of(&[&["bench"], args, &SMALL].concat())
}

fn line<'a>(found: &'a Value, work: &str, model: &str) -> &'a Value {
    let lines = found["lines"].as_array().unwrap();
    lines.iter().find(|line| line["work"] == work && line["model"] == model).unwrap()
}

#[test]
fn contextlm_is_measured_beside_plain_and_deeper() {
    let found = bench(&[]);
    for work in ["training", "prefill", "decode"] {
        for model in ["plain 1L", "plain 3L", "ContextLM 1L"] {
            let line = line(&found, work, model);
            assert!(line["seconds"].as_f64().unwrap() > 0.0, "{line}");
            assert!(line["tokens_per_second"].as_f64().unwrap() > 0.0, "{line}");
            assert_eq!(line["seconds_of_rounds"].as_array().unwrap().len(), 2);
            assert_eq!(line["over_plain"].is_null(), model == "plain 1L", "{line}");
            // Two layers of predictor, once in two tokens, beside one layer.
            let expected = &line["expected_over_plain"];
            assert_eq!(expected.as_f64(), (model == "ContextLM 1L").then_some(2.0), "{line}");
            #[cfg(target_os = "linux")]
            assert!(line["peak_bytes"].as_u64().is_some(), "{line}");
        }
    }
    assert_eq!(line(&found, "training", "plain 1L")["parameters"], 54848);
    assert!(line(&found, "loading", "ContextLM 1L")["over_plain"].as_f64().unwrap() > 0.0);
    assert_eq!((&found["device"], &found["threads"]), (&"cpu".into(), &1.into()));
    let lines = found["lines"].as_array().unwrap();
    assert!(lines.iter().all(|line| line["work"] != "tokenising" && line["speed_over_peer"].is_null()));
}

#[test]
fn weights_of_8_bits_generate() {
    let found = bench(&["generation", "--quantize", "int8"]);
    assert_eq!(found["quantize"], "int8");
    assert!(line(&found, "decode", "ContextLM 1L")["floor_seconds"].as_f64().unwrap() > 0.0);
    assert!(line(&found, "decode", "plain 1L")["seconds"].as_f64().unwrap() > 0.0);
}

/// A peer that answers whatever it is asked.
#[cfg(unix)]
fn peer(folder: &tempfile::TempDir, parameters: u32) -> String {
    let sample = r#"{"work":"training","seconds":1e6,"tokens":32}"#;
    let answer = format!(
        r#"{{"answer":{{"samples":[{sample}],"parameters":{parameters},"peak_bytes":9000000000,"program":"sh"}}}}"#
    );
    let path = folder.path().join("peer.sh");
    fs::write(&path, format!("while read -r line; do echo '{answer}'; done\n")).unwrap();
    text(&path).into()
}

#[cfg(unix)]
#[test]
fn a_peer_takes_turns() {
    let folder = tempfile::tempdir().unwrap();
    let peer_of = |parameters| peer(&folder, parameters);
    let script = peer_of(54848);
    let against = ["training", "--against", "torch", "--python", "/bin/sh", "--peer-script", &script];
    let found = bench(&against);
    let plain = line(&found, "training", "plain 1L");
    assert_eq!((plain["peer_seconds"].as_f64(), &plain["peer"]), (Some(1e6), &"sh".into()));
    assert!(plain["speed_over_peer"].as_f64().unwrap() > 1e3, "{plain}");
    assert!(plain["memory_over_peer"].as_f64().unwrap() < 1.0, "{plain}");
    assert!(line(&found, "training", "ContextLM 1L")["speed_over_peer"].is_null());

    peer_of(7);
    let message = fails(&[&["bench"], &against[..], &SMALL].concat(), 1);
    assert!(message.contains("54848 parameters, 7 in the peer"), "{message}");
    fs::write(&script, "exit 3\n").unwrap();
    let message = fails(&[&["bench"], &against[..], &SMALL].concat(), 1);
    assert!(message.contains("torch: its process ended") && message.contains('3'), "{message}");
    fs::write(&script, "echo nonsense; read -r line\n").unwrap();
    let message = fails(&[&["bench"], &against[..], &SMALL].concat(), 1);
    assert!(message.contains("\"nonsense\" is no answer"), "{message}");
    let message = fails(&["bench", "--against", "torch", "--peer-script", "nowhere.py"], 1);
    assert!(message.contains("--peer-script nowhere.py"), "{message}");
}

#[test]
fn texts_are_tokenised() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, tokenizer) = (folder.path().join("a.txt"), folder.path().join("tokenizer.json"));
    fs::write(&corpus, "Of the making of many books there is no end. ".repeat(50)).unwrap();
    let documents = [contextlm_data::Document::new("the making of many books the the end")];
    contextlm_data::Tokenizer::train(documents.map(Ok), 280).unwrap().save(&tokenizer).unwrap();
    let found = bench(&["tokenising", "--text", text(&corpus), "--tokenizer", text(&tokenizer)]);
    assert!(line(&found, "tokenising", "prepare")["tokens_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn sizes_are_a_table() {
    let (device, program) = (contextlm_device::device("cpu").unwrap(), env!("CARGO_BIN_EXE_contextlm"));
    let ours = || {
        let mut command = Command::new(program);
        command.args(["bench", "--side", "--device", "cpu"]);
        command
    };
    let bench = Bench {
        config: ContextLmConfig::preset("gpt2").unwrap(),
        rows: 1,
        length: 1,
        new_tokens: 2,
        steps: 1,
        warmup: 0,
        rounds: 1,
        dtype: TrainDtype::F32,
        int8: false,
        gradient_checkpointing: false,
        memory_threads: None,
        directory: None,
        texts: None,
    };
    let mut told = 0;
    let sizes = [(4, 64, 50), (9, 128, 30)];
    let found = bench.sizes(&sizes, &Programs { ours: &ours, peer: None }, &device, |done, _| told = done).unwrap();
    assert_eq!(found.iter().map(|size| (size.length, size.width, size.vocabulary)).collect::<Vec<_>>(), sizes);
    assert!(found.iter().all(|size| size.seconds.iter().all(|seconds| *seconds > 0.0)), "{found:?}");
    assert!(found.iter().all(|size| size.training_flops_per_second > 0.0 && size.speed_over_peer.is_none()));
    assert_eq!(told, 2);
}

#[test]
fn wrong_settings_are_named() {
    let message = fails(&["bench", "--set", "layers=3"], 1);
    assert!(message.contains("layers=3") && message.contains("n_layer"), "{message}");
    let message = fails(&["bench", "training", "--rounds", "0"], 1);
    assert!(message.contains("--rounds = 0"), "{message}");
    let message = fails(&["bench", "tokenising"], 1);
    assert!(message.contains("--text"), "{message}");
    let message = fails(&["bench", "--sizes", "--rounds", "0"], 1);
    assert!(message.contains("--rounds = 0"), "{message}");
    let message = fails(&["bench", "training", "--length", "1025"], 1);
    assert!(message.contains("--length = 1025") && message.contains("1024"), "{message}");
    let message = fails(&["bench", "--length", "1000"], 1);
    assert!(message.contains("--new-tokens = 64") && message.contains("1024"), "{message}");
    // A side that fails says why.
    let message =
        fails(&[&["bench", "generation", "--quantize", "int8", "--set", "n_embd=24"], &SMALL[2..]].concat(), 1);
    assert!(message.contains("n_head") || message.contains("multiple of 16"), "{message}");
}

#[test]
fn options_without_effect_are_refused() {
    for (options, named) in [
        (&["training", "--quantize", "int8"][..], "generation"),
        (&["generation", "--dtype", "bf16"], "training"),
        (&["loading", "--gradient-checkpointing"], "training"),
        (&["training", "--text", "a.txt", "--tokenizer", "t.json"], "tokenising"),
    ] {
        let message = fails(&[&["bench"], options].concat(), 1);
        assert!(message.contains(options[1]) && message.contains(named), "{message}");
    }
    for (options, named) in [
        (&["--tokenizer", "t.json"][..], "--text"),
        (&["--peer-script", "a.py"], "--against"),
        (&["--python", "python3"], "--against"),
        (&["--sizes", "--set", "n_layer=1"], "--set"),
        (&["--sizes", "--length", "8"], "--length"),
    ] {
        let message = fails(&[&["bench"], options].concat(), 2);
        assert!(message.contains(named), "{message}");
    }
}
