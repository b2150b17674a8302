use std::fs;
use std::path::Path;

use serde_json::json;

use super::*;

/// The directory of a run: a validation every 100 tokens, and the FLOPs and tokens of its `run.json`.
fn run(dir: &Path, losses: &[f64], flops: Option<u64>, sha256: &str) {
    fs::create_dir_all(dir).unwrap();
    let mut lines = String::new();
    for (index, loss) in losses.iter().enumerate() {
        let (step, tokens) = (index + 1, 100 * (index + 1));
        lines += &format!(
            "{}\n{}\n",
            json!({ "step": step, "tokens": tokens, "loss": 1, "lr": 1, "grad_norm": 1, "tokens_per_second": 1 }),
            json!({ "step": step, "tokens": tokens, "valid_loss": loss, "valid_tokens": 50 }),
        );
    }
    fs::write(dir.join("metrics.jsonl"), lines).unwrap();
    let about = json!({
        "parameters": { "backbone": 5, "context": 2, "total": 7 }, "training_flops_per_token": flops,
        "validation": { "tokens": 50, "sha256": sha256 }, "sessions": [],
    });
    fs::write(dir.join("run.json"), about.to_string()).unwrap();
}

fn error<T>(result: Result<T, TrainError>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn groups_stand_beside_the_first_at_equal_tokens_and_compute() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let read = |name: &str| Group::read(&at(name).display().to_string()).unwrap();
    for (seed, last) in [(0, 2.0), (1, 2.2), (10, 2.4)] {
        run(&at(&format!("plain/seed-{seed}")), &[5.0, 4.0, 3.0, last], Some(10), "a");
        // Twice the work a token, and one more validation.
        run(&at(&format!("double/seed-{seed}")), &[4.0, 3.0, 2.0, last - 1.0, 0.5], Some(20), "a");
    }
    run(&at("one"), &[4.5, 3.5, 2.5], Some(10), "a");
    let groups = [read("plain"), read("double"), read("one")];
    assert_eq!((groups[0].name(), read("plain/seed-1").name()), ("plain", "plain/seed-1"));
    assert_eq!(groups[0].runs()[2].name(), "plain/seed-10", "by number");
    let found = compare(&groups).unwrap();

    // The single run ends at 300 tokens.
    let tokens = &found.equal_tokens;
    assert_eq!(tokens.at, 300.0);
    let means: Vec<f64> = tokens.rows.iter().map(|row| row.loss.unwrap().mean).collect();
    assert_eq!(means, [3.0, 2.0, 2.5]);
    // 3000 operations: 300 tokens of the plain model, 150 of the other.
    let compute = found.equal_compute.as_ref().unwrap();
    assert_eq!((compute.at, compute.rows[1].tokens), (3000.0, 150.0));
    let expected = 4.0 - (1.5_f64).ln() / (2.0_f64).ln();
    assert!((compute.rows[1].loss.unwrap().mean - expected).abs() < 1e-12);
    assert_eq!(compute.rows[0].difference, None);
    let interval = compute.rows[1].difference.unwrap().interval.unwrap();
    assert!(interval.low <= expected - 3.0 && expected - 3.0 <= interval.high);
    assert_eq!(compute.rows[2].difference.unwrap().interval, None, "one seed");

    let text = found.text();
    for part in ["parameters", "2.2000 ± 0.1155", "at equal tokens, 300", "at equal compute, 3.000e3", "n/a (one seed)"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let path = at("page.html");
    write_page(&path, &groups, &found).unwrap();
    let html = fs::read_to_string(path).unwrap();
    assert!(["<svg", "<polygon", "double, 3 seeds", "At equal compute"].iter().all(|part| html.contains(part)));
    assert!(!html.contains("http://") || html.matches("http").count() == html.matches("http://www.w3.org").count());
}

#[test]
fn a_difference_between_groups_of_seeds_is_welchs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (name, losses) in [("a", [3.0, 3.1]), ("b", [2.5, 2.8])] {
        for (seed, loss) in losses.into_iter().enumerate() {
            run(&folder.path().join(format!("{name}{seed}")), &[loss], None, "a");
        }
    }
    let named = |name: &str| Group::read(&format!("{name}={},{}", at(&format!("{name}0")), at(&format!("{name}1"))));
    let found = compare(&[named("a").unwrap(), named("b").unwrap()]).unwrap();
    let difference = found.equal_tokens.rows[1].difference.unwrap();
    // scipy.stats.ttest_ind([2.5, 2.8], [3.0, 3.1], equal_var=False).confidence_interval()
    let interval = difference.interval.unwrap();
    assert!((difference.value + 0.4).abs() < 1e-12);
    assert!(
        (interval.low + 1.727210888955).abs() < 1e-9 && (interval.high - 0.927210888955).abs() < 1e-9,
        "{interval:?}"
    );
    assert_eq!(found.equal_compute, None);
    assert!(found.text().contains("equal compute: n/a"), "{}", found.text());
}

#[test]
fn a_loss_before_the_first_validation_is_not_made_up() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    run(&at("cheap"), &[3.0], Some(1), "a");
    run(&at("dear"), &[3.0, 2.0], Some(10), "a");
    let read = |name: &str| Group::read(&at(name).display().to_string()).unwrap();
    let found = compare(&[read("cheap"), read("dear")]).unwrap();
    let row = &found.equal_compute.as_ref().unwrap().rows[1];
    assert_eq!((row.tokens, row.loss, row.difference), (10.0, None, None));
    assert!(found.text().contains("n/a (before the first validation)"), "{}", found.text());
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    run(&at("a"), &[3.0], Some(1), "a");
    run(&at("other"), &[3.0], Some(1), "b");
    run(&at("larger"), &[3.0], Some(2), "a");
    run(&at("none"), &[], Some(1), "a");
    fs::create_dir(at("empty")).unwrap();
    run(&at("broken"), &[3.0], Some(1), "a");
    fs::write(at("broken/metrics.jsonl"), "{\"step\": 1}\n").unwrap();
    run(&at("json"), &[3.0], Some(1), "a");
    fs::write(at("json/run.json"), "{").unwrap();
    let read = |name: &str| Group::read(&at(name).display().to_string());
    assert!(error(compare(&[read("a").unwrap()])).contains("at least two"));
    let both = error(compare(&[read("a").unwrap(), read("other").unwrap()]));
    assert!(both.contains("on other tokens than") && both.contains("data.valid"), "{both}");
    let pair = error(Group::read(&format!("g={},{}", at("a").display(), at("larger").display())));
    assert!(pair.contains("not of one size"), "{pair}");
    for (name, part) in [
        ("none", "no validation"),
        ("empty", "this is no run"),
        ("broken", "metrics.jsonl, line 1: missing field"),
        ("json", "run.json, line 1"),
        ("missing", "missing"),
    ] {
        let message = error(read(name));
        assert!(message.contains(part) && message.contains(name), "{message}");
    }
}

/// The settings of a run.
fn settings(dir: &Path, seed: u64, lr: f64, length: usize) {
    let text = format!(
        "[data]\nsequence_length = {length}\n[train]\nseed = {seed}\n[optimizer]\nlr = {lr}\n[checkpoint]\ndir = \"{seed}\"\n"
    );
    fs::write(dir.join("config.toml"), text).unwrap();
}

#[test]
fn a_group_is_one_run_a_seed_with_the_same_settings() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, seed, lr, length) in [("a", 0, 0.1, 8), ("b", 1, 0.1, 8), ("same", 1, 0.1, 8), ("lr", 2, 0.2, 8)] {
        run(&at(name), &[3.0], Some(1), "a");
        settings(&at(name), seed, lr, length);
    }
    let group = |names: &[&str]| {
        let dirs: Vec<String> = names.iter().map(|name| at(name).display().to_string()).collect();
        Group::read(&format!("g={}", dirs.join(",")))
    };
    assert_eq!(group(&["a", "b"]).unwrap().runs().len(), 2);
    for (names, part) in [
        (["a", "b/../a"], "is there twice"),
        (["b", "same"], "both have train.seed = 1"),
        (["a", "lr"], "differ in optimizer.lr"),
    ] {
        let message = error(group(&names));
        assert!(message.contains(part) && message.contains("g: "), "{message}");
    }
    fs::write(at("b/config.toml"), "[").unwrap();
    assert!(error(group(&["a", "b"])).contains("config.toml"));
}

#[test]
fn other_rows_are_another_validation() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let read = |name: &str| Group::read(&at(name).display().to_string()).unwrap();
    for (name, length) in [("a", 8), ("b", 16), ("c", 8), ("packed", 8)] {
        run(&at(name), &[3.0], Some(1), "a");
        settings(&at(name), 0, 0.1, length);
    }
    let path = at("packed/config.toml");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("[data]", "[data]\npacking = true")).unwrap();
    compare(&[read("a"), read("c")]).unwrap();
    for (name, part) in
        [("b", "data.sequence_length = 16, not with 8"), ("packed", "data.packing = true, not with false")]
    {
        let message = error(compare(&[read("a"), read(name)]));
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn losses_of_a_group_are_after_the_same_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    run(&folder.path().join("a"), &[5.0, 4.0], Some(1), "a");
    // It went on for longer.
    run(&folder.path().join("b"), &[5.5, 4.5, 1.0], Some(1), "a");
    let groups = [Group::read(&format!("g={},{}", at("a"), at("b"))).unwrap(), Group::read(&at("a")).unwrap()];
    let found = compare(&groups).unwrap();
    assert_eq!((found.groups[0].tokens, found.groups[0].final_loss.unwrap().mean), (200, 4.25));

    // Its first validation is after the other's last.
    let path = folder.path().join("b/metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let late: Vec<&str> = text.lines().filter(|line| line.contains("\"tokens\":300")).collect();
    fs::write(&path, late.join("\n") + "\n").unwrap();
    let groups = [Group::read(&format!("g={},{}", at("a"), at("b"))).unwrap(), Group::read(&at("a")).unwrap()];
    let found = compare(&groups).unwrap();
    assert_eq!(found.groups[0].final_loss, None);
}
