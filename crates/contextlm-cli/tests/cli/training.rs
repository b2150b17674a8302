//! Training as processes: killed, interrupted, started twice, on a full disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::{contextlm, fails, json_of, text, with_tokenizer};

/// Shards, and a config for a model with dropout.
struct Setup {
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Setup {
    fn new(width: usize, batch_tokens: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = with_tokenizer(folder.path());
        let input = folder.path().join("a.txt");
        let words: String =
            (0..20_000).map(|n| format!("{} ", ["one", "two", "three", "four"][n * n / 7 % 4])).collect();
        fs::write(&input, words).unwrap();
        let shards = folder.path().join("shards");
        json_of(&[
            "prepare",
            "--tokenizer",
            text(&model),
            "--out",
            text(&shards),
            text(&input),
            "--valid-fraction",
            "0",
        ]);
        let train = shards.join("train");
        let backbone = format!(
            "{{ model_type = \"gpt2\", vocab_size = 320, n_positions = 64, n_embd = {width}, n_layer = 2, n_head = 2 }}"
        );
        let written = format!(
            "[model]\nbackbone = {backbone}\ncontext = {{ chunk_size = 2 }}\n\
             [data]\ntrain = {train:?}\nvalid = {train:?}\nsequence_length = 64\n\
             [train]\nsteps = 40\nbatch_tokens = {batch_tokens}\nmicro_batch = 4\n[optimizer]\nlr = 3e-3\n\
             [checkpoint]\ndir = \"unset\"\nevery = 10\n[eval]\ntokens = 500\n"
        );
        let config = folder.path().join("config.toml");
        fs::write(&config, written).unwrap();
        Self { folder, config }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The arguments of a run in a directory.
    fn args(&self, dir: &Path, more: &[&str]) -> Vec<String> {
        let mut args = vec!["train".to_string(), text(&self.config).into()];
        args.extend(["--set".into(), format!("checkpoint.dir={}", text(dir))]);
        args.extend(more.iter().map(|arg| arg.to_string()));
        args
    }

    fn train(&self, dir: &Path, more: &[&str]) -> Value {
        let args = self.args(dir, more);
        json_of(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn spawn(&self, dir: &Path, more: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_contextlm"));
        command.args(self.args(dir, more)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

/// Waits until something is there; the process must not end before.
#[track_caller]
fn wait_for(child: &mut Child, what: impl Fn() -> bool) {
    while !what() {
        assert!(child.try_wait().unwrap().is_none(), "it has ended already");
        sleep(Duration::from_millis(2));
    }
}

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

/// The numbers of all steps from one on, without what depends on the clock.
fn steps(dir: &Path, from: u64) -> Vec<[Value; 6]> {
    let lines = fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let numbers =
        |line: Value| ["step", "tokens", "loss", "smoothed_loss", "lr", "grad_norm"].map(|key| line[key].clone());
    lines.filter(|line| line.get("loss").is_some() && line["step"].as_u64() >= Some(from)).map(numbers).collect()
}

/// A run that is killed with no warning, at some moment after a checkpoint, goes on as if it had not been.
#[test]
fn a_killed_run_goes_on_as_if_it_had_not_been() {
    let setup = Setup::new(64, 2048);
    let (whole, parts) = (setup.dir("whole"), setup.dir("parts"));
    setup.train(&whole, &[]);
    let mut child = setup.spawn(&parts, &[]);
    // After the checkpoint of step 20, in any step but the last few, and anywhere in it.
    let random = u64::from(SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
    let (step, moment) = (20 + random % 14, random / 14 % 15);
    let lines = || fs::read_to_string(parts.join("metrics.jsonl")).map_or(0, |text| text.matches("\"loss\"").count());
    wait_for(&mut child, || parts.join("step-00000020/DONE").exists() && lines() as u64 >= step);
    sleep(Duration::from_millis(moment));
    child.kill().unwrap(); // SIGKILL
    assert_eq!(child.wait().unwrap().code(), None, "it was killed, {moment} ms after step {step}");
    assert!(!parts.join("step-00000040").exists(), "it was killed before its end");

    let done = setup.train(&parts, &["--resume"]);
    assert_eq!(done["steps"], 40);
    assert_eq!(steps(&whole, 1).len(), 40);
    assert_eq!(steps(&parts, 1), steps(&whole, 1), "killed {moment} ms after step {step}");
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let read = |dir: &Path| fs::read(dir.join("step-00000040").join(file)).unwrap();
        assert!(read(&parts) == read(&whole), "{file}, killed {moment} ms after step {step}");
    }
    // Dropout is on: without it the losses are others.
    let backbone = "model.backbone.resid_pdrop=0.0";
    let other = setup.dir("other");
    setup.train(&other, &["--set", backbone, "--set", "train.steps=2", "--set", "schedule.warmup_steps=1"]);
    assert_ne!(steps(&other, 1)[0][2], steps(&whole, 1)[0][2]);
}

#[test]
fn the_first_interrupt_leaves_a_checkpoint() {
    let setup = Setup::new(16, 256);
    let dir = setup.dir("run");
    let mut child = setup.spawn(&dir, &["--set", "train.steps=1000000", "--set", "checkpoint.every=0"]);
    let lines = || fs::read_to_string(dir.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
    wait_for(&mut child, || lines() >= 3);
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let made = lines();
    let checkpoint = dir.join(format!("step-{made:08}"));
    assert!(checkpoint.join("DONE").exists(), "{made} steps");
    let args = ["--resume", "--allow-config-change", "--set"];
    let more = setup.train(&dir, &[&args[..], &[&format!("train.steps={}", made + 2)]].concat());
    assert_eq!(more["steps"], made + 2);
}

/// Steps of several seconds: nothing is checkpointed before one is through.
#[test]
fn a_second_interrupt_leaves_at_once_and_a_second_process_is_refused() {
    let setup = Setup::new(256, 128 * 64);
    let dir = setup.dir("run");
    let mut child = setup.spawn(&dir, &[]);
    wait_for(&mut child, || dir.join("config.toml").exists());
    for more in [&["--resume"][..], &[]] {
        let args = setup.args(&dir, more);
        let message = fails(&args.iter().map(String::as_str).collect::<Vec<_>>(), 1);
        assert!(message.contains("another process") && message.contains(text(&dir)), "{message}");
    }
    interrupt(&child);
    sleep(Duration::from_millis(100));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let kept = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let kept: Vec<_> = kept.filter(|name| name.contains("step-")).collect();
    assert!(kept.is_empty(), "it did not wait for the step: {kept:?}");
}

/// Files above a size cannot be written, as on a disk that is full: first the optimizer's, then the model's too.
#[test]
fn a_full_disk_ends_the_run_and_the_last_checkpoint_stays() {
    let setup = Setup::new(32, 256);
    let dir = setup.dir("run");
    setup.train(&dir, &["--set", "train.steps=4"]);
    let size = |file: &str| fs::metadata(dir.join("step-00000004").join(file)).unwrap().len();
    let (model, optimizer) = (size("model.safetensors"), size("optimizer.safetensors"));
    assert!(model < optimizer);
    let more = ["--resume", "--allow-config-change", "--set", "train.steps=8"];
    for kibibytes in [(model + optimizer) / 2048, model / 2048] {
        let output = Command::new("bash")
            .args(["-c", "trap '' XFSZ; ulimit -f $0; exec \"$@\"", &kibibytes.to_string()])
            .arg(env!("CARGO_BIN_EXE_contextlm"))
            .args(setup.args(&dir, &more))
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        let last = message.lines().last().unwrap();
        assert!(last.starts_with("error: ") && last.contains("too large") && last.contains("step-00000008"), "{last}");
        let mut left: Vec<_> =
            fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.retain(|name| name.contains("step-"));
        assert_eq!(left, ["step-00000004"], "{kibibytes} KiB");
    }
    assert_eq!(setup.train(&dir, &more)["steps"], 8);
}

#[test]
fn a_damaged_checkpoint_is_told_and_the_one_before_it_is_taken() {
    let setup = Setup::new(16, 256);
    let dir = setup.dir("run");
    setup.train(&dir, &["--set", "train.steps=4", "--set", "checkpoint.every=2"]);
    let broken = dir.join("step-00000004/optimizer.safetensors");
    let mut bytes = fs::read(&broken).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&broken, bytes).unwrap();
    let args = setup.args(&dir, &["--set", "train.steps=4", "--set", "checkpoint.every=2", "--resume"]);
    let output = contextlm(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{message}");
    assert!(message.contains("damaged checkpoint passed over") && message.contains("step-00000004"), "{message}");
    assert!(message.contains("resuming from") && message.contains("step-00000002"), "{message}");
}

#[test]
fn seeds_packing_and_what_is_told_at_the_start() {
    let setup = Setup::new(16, 256);
    let dir = setup.dir("group");
    let more = ["--set", "train.steps=2", "--set", "train.seeds=[1, 5]", "--set", "data.packing=true"];
    let found = setup.train(&dir, &more);
    assert_eq!((&found["seeds"], &found["steps"], &found["tokens"]), (&json!([1, 5]), &json!(4), &json!(4 * 256)));
    let runs = found["runs"].as_array().unwrap();
    let loss = |run: &Value| run["valid_loss"].as_f64().unwrap();
    assert!(runs.len() == 2 && loss(&runs[0]) != loss(&runs[1]));
    assert!((loss(&found) - (loss(&runs[0]) + loss(&runs[1])) / 2.0).abs() < 1e-12);
    // A seed that is through tells what it came to, and its speed of 0 is in no mean.
    let again = setup.train(&dir, &[&more[..], &["--resume"]].concat());
    assert!((loss(&again) - loss(&found)).abs() < 1e-9);
    fs::remove_dir_all(dir.join("seed-5")).unwrap();
    let again = setup.train(&dir, &[&more[..], &["--resume"]].concat());
    assert_eq!(again["runs"][0]["tokens_per_second"], 0.0);
    assert_eq!(again["tokens_per_second"], again["runs"][1]["tokens_per_second"]);
    for seed in [1, 5] {
        let config = fs::read_to_string(dir.join(format!("seed-{seed}/config.toml"))).unwrap();
        assert!(config.contains(&format!("seed = {seed}\n")) && !config.contains("seeds"), "{config}");
        assert!(dir.join(format!("seed-{seed}/metrics.jsonl")).exists());
    }
    let args = setup.args(&setup.dir("one"), &["--set", "train.steps=1"]);
    let output = contextlm(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let message = String::from_utf8(output.stderr).unwrap();
    let told = |group: &str| {
        let line = message.lines().find(|line| line.starts_with(group)).unwrap_or_else(|| panic!("{message}"));
        line.split(' ').filter_map(|word| word.parse::<u64>().ok()).collect::<Vec<_>>()
    };
    let (decayed, others) = (told("weight decay: "), told("no weight decay: "));
    let model = json_of(&["inspect", "--model", text(&setup.dir("one").join("step-00000001"))]);
    assert_eq!(model["parameters"]["total"], decayed[1] + others[1]);
}
