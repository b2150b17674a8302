//! What the directory of a run holds, and what is told of it.

use super::*;

#[test]
fn the_directory_holds_what_the_run_was() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "run");
    let summary = train(&config, RunOptions::default(), usize::MAX).unwrap();
    let dir = &config.checkpoint.dir;
    assert_eq!(RunConfig::from_file(dir.join("config.toml"), &[]).unwrap(), config);
    assert!(fs::read_to_string(dir.join("report.html")).unwrap().contains("<svg"));
    let record = RunRecord::read(dir).unwrap();
    let about = record.about.unwrap();
    assert_eq!((about.sessions.len(), &about.sessions[0].versions), (1, &Versions::current()));
    assert_eq!(about.validation.unwrap().tokens, record.history.valid[0].valid_tokens);
    assert_eq!((record.history.steps.len(), record.history.valid[4].tokens), (24, 24 * 64));
    assert!(about.training_flops_per_token > Some(0) && record.history.steps.iter().all(|step| step.mfu.is_none()));
    // The last checkpoint, and the best one if it is another; each with its tokenizer.
    let checkpoint = summary.checkpoint.unwrap();
    assert!(checkpoint.ends_with("step-00000024") && checkpoint.join("tokenizer.json").exists());
    contextlm_weights::load(&checkpoint, &cpu()).unwrap();
    let valid: Vec<_> = metrics(&config).into_iter().filter(|line| line.get("valid_loss").is_some()).collect();
    let steps: Vec<u64> = valid.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [5, 10, 15, 20, 24]);
    assert!(valid[4]["valid_loss"].as_f64() < valid[0]["valid_loss"].as_f64(), "it learns");
    let kept = fs::read_dir(dir)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("step-"));
    assert!(kept.count() <= 2);
}

#[test]
fn what_is_told_of_a_run_that_went_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), "run");
    config.log = LogTable { tensorboard: cfg!(feature = "tensorboard"), peak_flops: Some(1e12) };
    train(&config, RESUME, 3).unwrap();
    // Neither the peak nor TensorBoard changes the result.
    config.log = LogTable { tensorboard: config.log.tensorboard, peak_flops: None };
    let options = RunOptions { hardware: Some("NVIDIA H200".into()), ..RESUME };
    train(&config, options, usize::MAX).unwrap();
    let record = RunRecord::read(&config.checkpoint.dir).unwrap();
    let about = record.about.unwrap();
    let sessions: Vec<_> = about.sessions.iter().map(|session| (session.from_step, session.peak_flops)).collect();
    assert_eq!(sessions, [(0, Some(1e12)), (3, Some(494.7e12))]);
    for step in record.history.steps {
        let peak = if step.metrics.step <= 3 { 1e12 } else { 494.7e12 };
        let expected = step.metrics.tokens_per_second * about.training_flops_per_token.unwrap() as f64 / peak;
        assert!((step.mfu.unwrap() / expected - 1.0).abs() < 1e-12);
        assert!(step.smoothed_loss.unwrap() > 0.0);
    }
    let names = fs::read_dir(&config.checkpoint.dir).unwrap().map(|entry| entry.unwrap().file_name());
    let events = names.filter(|name| name.to_string_lossy().contains("tfevents")).count();
    assert_eq!(events, if cfg!(feature = "tensorboard") { 2 } else { 0 });

    // Processes that made no step beyond a checkpoint are told of once.
    train(&config, RESUME, usize::MAX).unwrap();
    train(&config, RESUME, usize::MAX).unwrap();
    let sessions = RunRecord::read(&config.checkpoint.dir).unwrap().about.unwrap().sessions;
    assert_eq!(sessions.iter().map(|session| session.from_step).collect::<Vec<_>>(), [0, 3, 24]);

    config.log.peak_flops = Some(0.0);
    let message = train(&config, RESUME, 1).unwrap_err().to_string();
    assert!(message.contains("log.peak_flops = 0"), "{message}");
}
