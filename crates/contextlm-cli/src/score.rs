use std::error::Error;
use std::fmt::Write;

use contextlm_core::{Backbone, ContextLm, Device, Int, Tensor, linear};
use contextlm_data::Tokenizer;
use serde_json::json;

use crate::compute::Compute;
use crate::model;
use crate::output::{Busy, Outcome, Report};

/// Positions whose logits exist at the same time.
const ROWS: usize = 64;

/// Gives the log-probability of every token after the first
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model directory, of a ContextLM or a plain Hugging Face one, or the hub's `org/name[@revision]`
    #[arg(long)]
    model: String,
    /// Ids separated by white space
    #[arg(long, required_unless_present = "text")]
    tokens: Option<String>,
    /// Text, which the tokenizer of the model directory turns into ids; no special token is added
    #[arg(long, conflicts_with = "tokens")]
    text: Option<String>,
    #[command(flatten)]
    compute: Compute,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let device = args.compute.device()?;
    let found = model::directory(&args.model)?;
    let tokenizer = args.text.as_ref().map(|_| Tokenizer::from_dir(&found.dir)).transpose()?;
    let tokens = tokens(args, tokenizer.as_ref())?;
    let loaded = args.compute.load(&found.dir, &device)?;
    let spec = loaded.model.backbone.spec();
    tokenizer.map_or(Ok(()), |tokenizer| tokenizer.check_vocabulary(spec.vocabulary))?;
    check(&tokens, spec.vocabulary, spec.max_positions)?;

    let busy = Busy::new("scoring");
    let logprobs = logprobs(&loaded.model, &tokens, &device)?;
    drop(busy);
    let nll = -logprobs.iter().sum::<f64>();
    let mut text = String::new();
    for (token, logprob) in tokens[1..].iter().zip(&logprobs) {
        writeln!(text, "{token:>8} {logprob:>10.4}")?;
    }
    writeln!(text, "nll {nll:.4} nats, {:.4} a token", nll / logprobs.len() as f64)?;
    Ok(Report {
        text,
        json: json!({ "model": model::named(&found), "tokens": tokens, "logprobs": logprobs, "nll": nll }),
    })
}

fn tokens(args: &Args, tokenizer: Option<&Tokenizer>) -> Result<Vec<u32>, Box<dyn Error>> {
    if let (Some(text), Some(tokenizer)) = (&args.text, tokenizer) {
        return Ok(tokenizer.encode(text)?);
    }
    let id = |word: &str| {
        word.parse()
            .map_err(|_| format!("--tokens {word}: must be ids, whole numbers from 0, separated by white space"))
    };
    Ok(args.tokens.as_deref().unwrap_or_default().split_whitespace().map(id).collect::<Result<_, _>>()?)
}

fn check(tokens: &[u32], vocabulary: usize, positions: usize) -> Result<(), Box<dyn Error>> {
    if tokens.len() < 2 {
        return Err(format!("{} tokens, but the first one has no score: give at least 2", tokens.len()).into());
    }
    if let Some(token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
        return Err(format!("token {token}: the model has {vocabulary}; is it its own tokenizer?").into());
    }
    if tokens.len() > positions + 1 {
        return Err(format!("{} tokens, but the model has {positions} positions; give fewer", tokens.len()).into());
    }
    Ok(())
}

/// Natural logarithms, over all V logits; the logits of a few positions at a time.
fn logprobs(model: &ContextLm, tokens: &[u32], device: &Device) -> Result<Vec<f64>, Box<dyn Error>> {
    let inputs: Vec<i64> = tokens[..tokens.len() - 1].iter().map(|&token| token.into()).collect();
    let states = model.hidden_states(Tensor::<1, Int>::from_ints(inputs.as_slice(), device).unsqueeze::<2>());
    let head = model.backbone.head().transpose();
    let mut logprobs = Vec::new();
    for (number, targets) in tokens[1..].chunks(ROWS).enumerate() {
        let states = states.clone().narrow(1, number * ROWS, targets.len()).squeeze_dim::<2>(0);
        let logits = linear(states.cast(head.dtype()), head.clone(), None).into_data().convert::<f32>();
        let logits: Vec<f32> = logits.try_into_vec()?;
        for (row, &target) in logits.chunks(logits.len() / targets.len()).zip(targets) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
            logprobs.push(f64::from(row[target as usize] - largest) - sum.ln());
        }
    }
    Ok(logprobs)
}
