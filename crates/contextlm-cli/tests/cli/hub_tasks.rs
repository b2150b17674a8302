//! `contextlm eval tasks` on rows as the hub has them, and from the hub itself.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::eval::model;
use crate::hub::{contextlm, said};
use crate::hub_server::{COMMIT, Server};
use crate::{json_of, text};

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

/// A built-in task that looks for its data under another name.
fn task(folder: &Path, name: &str, hub: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contextlm-eval/tasks").join(format!("{name}.toml"));
    let builtin = fs::read_to_string(file).unwrap();
    let (head, rest) = builtin.split_once("[hub]").unwrap();
    let prompt = rest.find("[prompt]").map_or("", |at| &rest[at..]);
    let path = folder.join(format!("{name}.toml"));
    fs::write(&path, format!("{head}[hub]\n{hub}\n{prompt}")).unwrap();
    path
}

#[test]
fn data_come_from_the_hub_and_their_commit_is_in_the_results() {
    let folder = tempfile::tempdir().unwrap();
    let dir = model(folder.path(), "m", None);
    let files = ["arc_easy.parquet", "hellaswag.parquet"]
        .map(|name| (format!("data/{name}"), fs::read(fixtures("hub_parquet").join(name)).unwrap()));
    let server = Server::new(HashMap::from(files));
    let hub = |name: &str| format!("dataset = \"org/name\"\nfiles = [\"data/{name}.parquet\"]");
    let tasks = ["arc_easy", "hellaswag"].map(|name| text(&task(folder.path(), name, &hub(name))).to_owned()).join(",");
    let args = ["eval", "tasks", "--model", text(&dir), "--tasks", &tasks, "--json"];
    let home = tempfile::tempdir().unwrap();
    let of = |endpoint: &str, more: &[(&str, &str)], args: &[&str]| {
        let env = [&[("HF_HOME", text(home.path())), ("HF_ENDPOINT", endpoint)], more].concat();
        let output = contextlm(args, &env);
        let errors = said(output.stderr);
        assert!(output.status.success(), "{errors}");
        (serde_json::from_slice::<Value>(&output.stdout).unwrap(), errors)
    };
    let (found, errors) = of(&server.options.endpoint, &[], &args);
    assert!(errors.contains(&format!("arc_easy: org/name@{COMMIT}")), "{errors}");
    let config = &found["configs"]["hellaswag"];
    assert_eq!((&config["dataset_path"], &config["dataset_revision"]), (&json!("org/name"), &json!(COMMIT)));
    assert_eq!(config["hub"]["files"], json!(["data/hellaswag.parquet"]));
    assert_eq!(found["n-samples"]["arc_easy"], json!({ "original": 3, "effective": 3 }));

    // The same rows from files here, as JSON lines and as Parquet.
    for data in ["hub", "hub_parquet"] {
        let here = json_of(&[&args[..6], &["--data", text(&fixtures(data))]].concat());
        assert_eq!(here["results"], found["results"], "{data}");
        assert_eq!(here["configs"]["arc_easy"].get("hub"), None);
        assert_eq!(here["configs"]["arc_easy"].get("dataset_revision"), None);
    }
    // Afterwards the cache does, with or without the hub.
    let asked = server.asked().len();
    let (again, errors) = of(&server.options.endpoint, &[("HF_HUB_OFFLINE", "1")], &args);
    assert_eq!((&again["results"], server.asked().len()), (&found["results"], asked));
    assert!(errors.contains("from the cache: HF_HUB_OFFLINE is set"), "{errors}");
    let (again, errors) = of("http://127.0.0.1:1", &[], &args);
    assert!(again["results"] == found["results"] && errors.contains("from the cache: "), "{errors}");
    // A folder without the task's data is no hindrance.
    let empty = tempfile::tempdir().unwrap();
    let (again, _) = of(&server.options.endpoint, &[], &[&args[..], &["--data", text(empty.path())]].concat());
    assert_eq!(again["results"], found["results"]);
}

#[test]
fn a_pinned_commit_in_the_cache_needs_no_hub() {
    let folder = tempfile::tempdir().unwrap();
    let dir = model(folder.path(), "m", None);
    // As another program has left the data of the built-in task there.
    let task =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../contextlm-eval/tasks/lambada_openai.toml"));
    let commit = task.unwrap().split("revision = \"").nth(1).unwrap()[..40].to_owned();
    let home = tempfile::tempdir().unwrap();
    let snapshot = home.path().join("hub/datasets--EleutherAI--lambada_openai/snapshots").join(&commit).join("data");
    fs::create_dir_all(&snapshot).unwrap();
    fs::copy(fixtures("hub/lambada_openai.jsonl"), snapshot.join("lambada_test.jsonl")).unwrap();
    let args = ["eval", "tasks", "--model", text(&dir), "--tasks", "lambada_openai", "--json"];
    let output = contextlm(&args, &[("HF_HOME", text(home.path())), ("HF_ENDPOINT", "http://127.0.0.1:1")]);
    assert!(output.status.success(), "{}", said(output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["configs"]["lambada_openai"]["dataset_revision"], *commit);
    assert_eq!(found["n-samples"]["lambada_openai"]["effective"], 3);
}

#[test]
fn without_the_hub_one_line_says_how_to_give_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let dir = model(folder.path(), "m", None);
    let empty = tempfile::tempdir().unwrap();
    for offline in ["0", "1"] {
        let env = [("HF_HOME", text(empty.path())), ("HF_ENDPOINT", "http://127.0.0.1:1"), ("HF_HUB_OFFLINE", offline)];
        let output = contextlm(&["eval", "tasks", "--model", text(&dir), "--tasks", "blimp"], &env);
        let errors = said(output.stderr);
        assert_eq!((output.status.code(), errors.trim_end().lines().count()), (Some(1), 1), "{errors}");
        for part in ["blimp: data set nyu-mll/blimp@877fba08", "give a folder with blimp.jsonl", "--data"] {
            assert!(errors.contains(part), "{part:?} should be in: {errors}");
        }
        assert_eq!(errors.contains("HF_HUB_OFFLINE"), offline == "1", "{errors}");
    }
    // Rows that do not fit are named with their file and row.
    let broken =
        fs::read_to_string(fixtures("hub/winogrande.jsonl")).unwrap().replace(" _ was hungry", " he was hungry");
    fs::write(folder.path().join("winogrande.jsonl"), broken).unwrap();
    let args = ["eval", "tasks", "--model", text(&dir), "--tasks", "winogrande", "--data", text(folder.path())];
    let errors = said(contextlm(&args, &[]).stderr);
    assert!(errors.contains("winogrande.jsonl, line 1: sentence has no blank _"), "{errors}");
}
