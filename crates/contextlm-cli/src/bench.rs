mod programs;

use std::error::Error;
use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use contextlm_bench::{Bench, Group, Line, answer_requests, size_table, sizes, table, with_settings};
use contextlm_core::{Backbone, ContextConfig, ContextLmConfig, Device};
use contextlm_train::TrainDtype;
use serde_json::{Value, json};

use crate::context;
use crate::model;
use crate::output::{Bar, Outcome, Report};
use crate::quantize::Quantize;

/// Measures training steps, prefill, decode, loading and tokenising: ContextLM beside its plain backbone, and PyTorch
///
/// Every side is a process of its own with fresh weights; sides take turns. Times are medians, ratios are medians of the
/// rounds' ratios. "expected" is 1 + predictor_layers / (chunk_size * layers). Memory is anonymous memory above that of the
/// empty process. Build with --release.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure; all but tokenising, which needs --text, if nothing is given
    #[arg(value_enum)]
    what: Vec<What>,
    /// Published backbone: gpt2 ... gpt2-xl, pythia-14m ... pythia-1.4b
    #[arg(long, default_value = "gpt2")]
    preset: String,
    /// Model directory instead, whose config is measured, and which is what loading loads
    #[arg(long, conflicts_with = "preset")]
    model: Option<String>,
    /// Other values for the backbone's config, in Hugging Face's names: n_layer=6,n_embd=512
    #[arg(long, value_name = "KEY=VALUE,...")]
    set: Vec<String>,
    /// Context settings: default, or key=value,...
    #[arg(long, default_value = "default")]
    context: String,
    /// Sequences of a batch
    #[arg(long, default_value_t = 1)]
    rows: usize,
    /// Tokens of a sequence in training, and of a prompt
    #[arg(long, default_value_t = 512)]
    length: usize,
    /// Tokens after a prompt
    #[arg(long, default_value_t = 64)]
    new_tokens: usize,
    /// Training steps of a round
    #[arg(long, default_value_t = 3)]
    steps: usize,
    /// Training steps before them
    #[arg(long, default_value_t = 1)]
    warmup: usize,
    /// Turns of every side, after one that does not count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Threads of every side; all cores if not given
    #[arg(long)]
    threads: Option<usize>,
    /// Type of the matrix products in training, f32 if not given; PyTorch's autocast for the peer
    #[arg(long, value_enum)]
    dtype: Option<Products>,
    /// Computes again in the backward pass what is cheap to compute, on our side
    #[arg(long)]
    gradient_checkpointing: bool,
    /// Weights of 8 bits on our side in generation
    #[arg(long, value_enum)]
    quantize: Option<Quantize>,
    /// Texts to tokenise: files and folders, as `contextlm prepare` takes them
    #[arg(long, requires = "tokenizer")]
    text: Vec<PathBuf>,
    /// tokenizer.json for them
    #[arg(long, requires = "text")]
    tokenizer: Option<PathBuf>,
    /// Measures a table of sizes instead: 4 to 2048 tokens, width 256 to 1024, vocabulary 1000 to 50257, four layers
    #[arg(long, conflicts_with_all = ["what", "text", "model", "preset", "set", "context", "length"])]
    sizes: bool,
    /// A peer to take turns with
    #[arg(long, value_enum)]
    against: Option<Peer>,
    /// Python with PyTorch, transformers and tokenizers
    #[arg(long, default_value = "python3", requires = "against")]
    python: PathBuf,
    /// The peer's program, from the repository
    #[arg(long, default_value = "tools/bench_torch.py", requires = "against")]
    peer_script: PathBuf,
    /// Where to compute: cpu, wgpu, cuda:0, libtorch, as far as they are built in
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Answers requests on stdin, as one of the sides
    #[arg(long, hide = true)]
    side: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum What {
    /// Forward, backward, clipping and AdamW
    Training,
    /// Prefill and decode
    Generation,
    /// A model directory, from the page cache
    Loading,
    /// `prepare`, beside `encode_batch` of `tokenizers`
    Tokenising,
}

#[derive(Clone, Copy, ValueEnum)]
enum Products {
    F32,
    Bf16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Peer {
    /// PyTorch in eager mode, and transformers
    Torch,
}

impl Args {
    /// Whether it is measured.
    fn measures(&self, what: What) -> bool {
        match what {
            What::Training | What::Generation if self.sizes => true,
            What::Tokenising if self.what.is_empty() => !self.text.is_empty(),
            _ => self.what.is_empty() || self.what.contains(&what),
        }
    }

    /// Refuses options that would change nothing of what is measured.
    fn check(&self) -> Result<(), String> {
        for (given, option, what, name) in [
            (self.dtype.is_some(), "--dtype", What::Training, "training"),
            (self.gradient_checkpointing, "--gradient-checkpointing", What::Training, "training"),
            (self.quantize.is_some(), "--quantize", What::Generation, "generation"),
            (!self.text.is_empty(), "--text", What::Tokenising, "tokenising"),
        ] {
            if given && !self.measures(what) {
                return Err(format!("{option} is for {name}, which is not measured here: leave it out, or add {name}"));
            }
        }
        Ok(())
    }

    /// Refuses more tokens than the model has positions.
    fn check_length(&self, positions: usize) -> Result<(), String> {
        let (length, new_tokens) = (self.length, self.new_tokens);
        let fix = format!("must be at most the model's positions, {positions}");
        if self.measures(What::Generation) && length.saturating_add(new_tokens) > positions {
            return Err(format!("--length = {length} and --new-tokens = {new_tokens}: their sum {fix}"));
        }
        if self.measures(What::Training) && length > positions {
            return Err(format!("--length = {length}: {fix}"));
        }
        Ok(())
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    let device = contextlm_device::device(&args.device)?;
    if args.side {
        answer_requests(&device, io::stdin().lock(), io::stdout().lock())?;
        return Ok(Report { text: String::new(), json: Value::Null });
    }
    args.check()?;
    let bench = bench(args)?;
    if !args.sizes {
        args.check_length(bench.config.init(&device)?.backbone.spec().max_positions)?;
    }
    let (ours, peer) = programs::programs(args)?;
    let programs = contextlm_bench::Programs { ours: &ours, peer: peer.as_ref().map(|start| ("torch", start as _)) };
    let name = programs.peer.map(|(name, _)| name);
    let bar = Bar::new();
    let (text, found) = if args.sizes {
        let rows = bench.sizes(&sizes(), &programs, &device, |done, of| bar.set("sizes", done, of))?;
        (size_table(&rows, name), json!({ "sizes": rows }))
    } else {
        let lines = lines(args, &bench, &programs, &device, &bar)?;
        (table(&lines, name), json!({ "lines": lines, "config": bench.config }))
    };
    drop(bar);
    let mut json = found;
    for (key, value) in [
        ("device", json!(args.device)),
        ("hardware", json!(contextlm_device::hardware(&device))),
        ("threads", json!(programs::threads(args))),
        ("rows", json!(args.rows)),
        ("length", json!(args.length)),
        ("new_tokens", json!(args.new_tokens)),
        ("dtype", json!(bench.dtype)),
        ("quantize", json!(args.quantize.map(Quantize::name))),
        ("rounds", json!(args.rounds)),
        ("optimized", json!(!cfg!(debug_assertions))),
    ] {
        json[key] = value;
    }
    Ok(Report { text, json })
}

fn lines(
    args: &Args,
    bench: &Bench,
    programs: &contextlm_bench::Programs<'_>,
    device: &Device,
    bar: &Bar,
) -> Result<Vec<Line>, Box<dyn Error>> {
    let mut lines = Vec::new();
    for (what, group, name) in [
        (What::Training, Group::Training, "training"),
        (What::Generation, Group::Generation, "prefill and decode"),
        (What::Loading, Group::Loading, "loading"),
        (What::Tokenising, Group::Tokenising, "tokenising"),
    ] {
        if args.measures(what) {
            lines.extend(bench.run(group, programs, device, |done, of| bar.set(name, done, of))?);
        }
    }
    Ok(lines)
}

fn bench(args: &Args) -> Result<Bench, Box<dyn Error>> {
    let (config, directory) = match &args.model {
        Some(model) => {
            let dir = model::directory(model)?.dir;
            (ContextLmConfig::from_file(dir.join("config.json"))?, Some(dir))
        }
        None => (ContextLmConfig::preset(&args.preset)?, None),
    };
    let directory = directory.filter(|_| args.set.is_empty());
    let context = context::parse(&args.context, ContextConfig::default())?;
    let config = with_settings(config, &args.set)?;
    let config = if config.context.is_some() { config } else { config.with_context(context) };
    config.validate()?;
    Ok(Bench {
        config,
        rows: args.rows,
        length: args.length,
        new_tokens: args.new_tokens,
        steps: args.steps,
        warmup: args.warmup,
        gradient_checkpointing: args.gradient_checkpointing,
        memory_threads: ["cpu", "libtorch"].contains(&args.device.as_str()).then(|| programs::threads(args)),
        int8: args.quantize == Some(Quantize::Int8),
        rounds: args.rounds,
        dtype: match args.dtype {
            None | Some(Products::F32) => TrainDtype::F32,
            Some(Products::Bf16) => TrainDtype::Bf16,
        },
        directory,
        texts: args.tokenizer.clone().map(|tokenizer| (tokenizer, args.text.clone())),
    })
}
