//! The table, the sentence under it, and the same as JSON.

use std::error::Error;
use std::path::Path;

use serde_json::{Value, json};

use crate::text::Text;
use crate::training::Trained;

/// A difference below this is within what another seed changes in a run of this length.
const NOISE: f64 = 0.03;

/// Prints the table of all models and writes it to `table.json`.
pub fn print(models: &[Trained], text: &Text, steps: usize, curves: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    println!(
        "\nvalidation after {steps} steps of {} tokens, same batches and seed for all\n",
        models[0].tokens_per_step
    );
    println!(
        "{:34} {:>10} {:>9} {:>8} {:>10} {:>8} {:>9} {:>13}",
        "model", "parameters", "MFLOP/tok", "loss", "perplexity", "bits/B", "tokens/s", "loss, swapped"
    );
    let mut rows = Vec::new();
    for model in models {
        let row = row(model, text);
        let swapped = row["loss_with_contexts_of_another_text"].as_f64();
        println!(
            "{:34} {:>10} {:>9.2} {:>8.4} {:>10.2} {:>8.4} {:>9.0} {:>13}",
            model.name,
            model.parameters.total,
            model.flops as f64 / 1e6,
            model.loss(),
            model.loss().exp(),
            bits_per_byte(model, text),
            model.tokens_per_second,
            swapped.map_or("-".into(), |loss| format!("{loss:.4}")),
        );
        rows.push(row);
    }
    println!("\n{}", verdict(models));
    let file = out.join("table.json");
    std::fs::write(&file, serde_json::to_string_pretty(&json!({ "steps": steps, "models": rows }))?)?;
    println!("curves: {}; table: {}", curves.display(), file.display());
    Ok(())
}

fn row(model: &Trained, text: &Text) -> Value {
    json!({
        "name": model.name,
        "parameters": model.parameters.total,
        "flops_per_token": model.flops,
        "loss": model.loss(),
        "perplexity": model.loss().exp(),
        "bits_per_byte": bits_per_byte(model, text),
        "tokens_per_second": model.tokens_per_second,
        "loss_with_contexts_of_another_text": model.swapped_loss,
    })
}

/// Total nats over ln 2 and the bytes of the text.
fn bits_per_byte(model: &Trained, text: &Text) -> f64 {
    model.nll / (std::f64::consts::LN_2 * text.valid.counts.bytes as f64)
}

/// What was measured, in words, whoever won.
fn verdict(models: &[Trained]) -> String {
    let [plain, deeper, constant, deeper_constant, contextlm] = models else {
        return String::new();
    };
    let whole = contextlm.loss() - plain.loss().min(deeper.loss());
    let contexts = contextlm.loss() - constant.loss().min(deeper_constant.loss());
    let swap = contextlm.swapped_loss.map_or(0.0, |swapped| swapped - contextlm.loss());
    format!(
        "ContextLM against the better plain model: {whole:+.4} nats a token ({}).\n\
         Its contexts alone, against the better constant control: {contexts:+.4} ({}).\n\
         With the contexts of another text its loss changes by {swap:+.4}: that is how much it relies on them.\n\
         One seed and a short run: differences below {NOISE} are noise.",
        word(whole),
        word(contexts)
    )
}

fn word(difference: f64) -> &'static str {
    match difference {
        d if d < -NOISE => "better",
        d if d > NOISE => "worse",
        _ => "within noise",
    }
}
