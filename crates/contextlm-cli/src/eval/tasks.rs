use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use contextlm_core::Backbone;
use contextlm_eval::results::{RunInfo, results_json, samples_jsonl, sanitized};
use contextlm_eval::task::{Origin, Place, Task, TaskData, builtin};
use contextlm_eval::{
    Answers, Cache, Encoder, EvaluateOptions, compare, comparison_json, comparison_table, evaluate, results_table,
};
use contextlm_weights::hub::HubOptions;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::input::write_output;
use crate::compute::Compute;
use crate::output::{Busy, Outcome, Report};
use crate::{interrupt, model};

/// Scores tasks as lm-evaluation-harness does; several models are compared with the first
#[derive(clap::Args)]
#[command(after_help = known_tasks())]
pub(crate) struct Args {
    /// Model directories, or names on the hub, separated by commas
    #[arg(long, required = true, value_delimiter = ',')]
    model: Vec<String>,
    /// Names of tasks, or paths of task files (.toml), separated by commas
    #[arg(long, required = true, value_delimiter = ',')]
    tasks: Vec<String>,
    /// Folder with the data of the tasks, or with folders of them. What is not there comes from the Hugging Face hub
    #[arg(long)]
    data: Option<PathBuf>,
    /// Asks only the first N examples, of each group where a task has groups
    #[arg(long)]
    limit: Option<usize>,
    /// Puts N solved examples before each question; the task's own number if not given
    #[arg(long)]
    shots: Option<usize>,
    /// Folder to write results.json, the answers to every example and the comparison to. What a killed run has scored is
    /// there too: the same call goes on from it
    #[arg(long)]
    out: Option<PathBuf>,
    /// Inputs at most; the model's positions if not given. Longer ones lose their first tokens
    #[arg(long)]
    window: Option<usize>,
    /// Takes longer inputs for an error
    #[arg(long)]
    no_truncate: bool,
    /// Puts the special tokens around every text that the tokenizer's file asks for, as the harness does with Llama; GPT-2
    /// and Pythia have none
    #[arg(long)]
    add_special_tokens: bool,
    /// Draws for the standard errors of perplexities
    #[arg(long, default_value_t = 100_000)]
    bootstrap_iters: usize,
    /// Tokens of a batch, the longest input for every request; results do not depend on it
    #[arg(long, default_value_t = EvaluateOptions::default().batch_tokens)]
    batch_tokens: usize,
    #[command(flatten)]
    compute: Compute,
}

/// What one model did.
struct Run {
    name: String,
    answers: Vec<Answers>,
    json: Value,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let tasks = tasks(args)?;
    interrupt::on_first(|| ())?;
    let mut runs: Vec<Run> = Vec::new();
    for name in &args.model {
        runs.push(of_model(args, name, &tasks)?);
    }
    let mut text = String::new();
    for run in &runs {
        if runs.len() > 1 {
            text += &format!("{}\n\n", run.name);
        }
        text += &format!("{}\n", results_table(&run.answers, args.bootstrap_iters));
    }
    let Some((first, others)) = runs.split_first().filter(|(_, others)| !others.is_empty()) else {
        let json = runs.pop().map_or(Value::Null, |run| run.json);
        return Ok(Report { text, json });
    };
    let mut compared = Vec::new();
    for run in others {
        let differences = compare(&first.answers, &run.answers)?;
        text += &format!("{}\n", comparison_table(&first.name, &run.name, &differences));
        compared.push((run.name.clone(), differences));
    }
    let comparison = comparison_json(&first.name, &compared);
    if let Some(out) = &args.out {
        write_output(&out.join("comparison.json"), &format!("{comparison:#}\n"))?;
    }
    let models: Vec<&Value> = runs.iter().map(|run| &run.json).collect();
    Ok(Report { text, json: json!({ "models": models, "comparison": comparison }) })
}

fn tasks(args: &Args) -> Result<Vec<(Task, TaskData)>, Box<dyn Error>> {
    let place = args.data.as_ref().map_or(Place::default(), Place::from).or_hub(HubOptions::from_env());
    let mut tasks: Vec<(Task, TaskData)> = Vec::new();
    for name in &args.tasks {
        let task = Task::find(name)?;
        if tasks.iter().any(|(other, _)| other.name == task.name) {
            return Err(format!("--tasks {name}: there are two of the name {}", task.name).into());
        }
        let located = place.locate(&task)?;
        if let Origin::Hub { dataset, commit, offline } = &located.origin {
            let from = offline.as_ref().map_or(String::new(), |reason| format!(", from the cache: {reason}"));
            eprintln!("{}: {dataset}@{commit}{from}", task.name);
        }
        let _busy = Busy::new(format!("reading {}", task.name));
        let data = TaskData::read_located(&task, &located, args.limit, args.shots)?;
        tasks.push((task, data));
    }
    Ok(tasks)
}

fn of_model(args: &Args, name: &str, tasks: &[(Task, TaskData)]) -> Result<Run, Box<dyn Error>> {
    let device = args.compute.device()?;
    let found = model::directory(name)?;
    let encoder = Encoder::from_dir(&found.dir, args.add_special_tokens)?;
    let loaded = args.compute.load(&found.dir, &device)?;
    let name = model::named(&found).as_str().unwrap_or(name).to_owned();
    let dir = args.out.as_ref().map(|out| out.join(sanitized(&name)));
    let dtype = args.compute.dtype.name();
    let mut cache = match &dir {
        None => None,
        Some(dir) => {
            fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
            let _busy = Busy::new("reading the cache");
            let settings = format!("{dtype} {}", args.compute.device);
            Some(Cache::open(&dir.join("cache.jsonl"), &found.dir, &settings)?)
        }
    };

    let (started, date) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64());
    let options =
        EvaluateOptions { batch_tokens: args.batch_tokens, window: args.window, refuse_long: args.no_truncate };
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} requests, {eta} left")?;
    let bar = ProgressBar::new(0).with_style(style).with_message(name.clone());
    let answers = evaluate(&loaded.model, &encoder, tasks, &options, cache.as_mut(), &device, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        !interrupt::interrupted()
    });
    bar.finish_and_clear();
    let answers = answers?;

    let info = RunInfo {
        model: name.clone(),
        parameters: loaded.model.parameters().total,
        dtype: dtype.into(),
        device: args.compute.device.clone(),
        batch_tokens: args.batch_tokens,
        window: args.window.unwrap_or_else(|| loaded.model.backbone.spec().max_positions),
        end_of_text: encoder.end_of_text(),
        limit: args.limit,
        bootstrap: args.bootstrap_iters,
        seconds: started.elapsed().as_secs_f64(),
        date,
    };
    let json = results_json(&answers, &info);
    if let Some(dir) = &dir {
        for answers in &answers {
            write_output(&dir.join(format!("samples_{}.jsonl", answers.task.name)), &samples_jsonl(answers))?;
        }
        write_output(&dir.join("results.json"), &format!("{json:#}\n"))?;
    }
    Ok(Run { name, answers, json })
}

/// For the end of the help.
fn known_tasks() -> String {
    let tasks = builtin().unwrap_or_default();
    let lines = tasks.iter().map(|task| format!("  {:<15} {}\n", task.name, task.about));
    format!("Tasks:\n{}", lines.collect::<String>())
}
