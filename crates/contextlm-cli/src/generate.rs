mod ends;
mod options;
mod prompt;

use std::io::{self, Write};

use contextlm_core::{Backbone, ContextLm, Device};
use contextlm_data::Tokenizer;
use contextlm_generate::{Finish, GenerateError, GenerateOptions, Generated, Generator, TextStream, Timing};
use serde_json::{Map, Value, json};

use crate::compute::Compute;
use crate::output::{Busy, Outcome, Report};
use crate::quantize::Quantize;
use crate::{interrupt, model};

/// Continues a text, token by token, as it comes
///
/// The end-of-text tokens of the model directory end it. Greedy unless --temperature is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model directory, of a ContextLM or a plain Hugging Face one, or the hub's `org/name[@revision]`
    #[arg(long)]
    model: String,
    #[command(flatten)]
    prompt: prompt::PromptArgs,
    #[command(flatten)]
    options: options::OptionArgs,
    #[command(flatten)]
    compute: Compute,
    /// Weights of fewer bits in memory, for faster decoding; `eval perplexity` tells what it costs
    #[arg(long, value_enum)]
    quantize: Option<Quantize>,
}

pub(crate) fn run(args: &Args, as_json: bool) -> Outcome {
    let device = args.compute.device()?;
    let found = model::directory(&args.model)?;
    let tokenizer = Tokenizer::from_dir(&found.dir)?;
    let prompt = tokenizer.encode(&args.prompt.read()?)?;
    let loaded = args.compute.load(&found.dir, &device)?;
    let model = Quantize::apply(args.quantize, loaded.model, args.compute.dtype)?;
    let spec = model.backbone.spec();
    tokenizer.check_vocabulary(spec.vocabulary)?;

    let mut options = args.options.read(&spec)?;
    // The model's vocabulary may be padded beyond the tokenizer's.
    options.sampling.vocabulary = Some(tokenizer.vocab_size());
    // And the tokenizer's may have holes.
    options.sampling.logit_bias.extend(tokenizer.ids_without_token().map(|id| (id, f32::NEG_INFINITY)));
    if !args.options.ignore_end {
        options.stop_tokens = ends::end_of_text(&found.dir, &tokenizer)?;
    }
    let cancel = options.cancel.clone();
    interrupt::on_first(move || cancel.cancel())?;

    let decode = |tokens: &[u32]| tokenizer.decode(tokens).map_err(|error| error.to_string());
    let logprobs = options.logprobs;
    let (mut samples, timing) = if options.samples == 1 && !as_json {
        let stream = TextStream::new(&model, &prompt, options, decode, &device)?;
        print(stream)?
    } else {
        let _busy = Busy::new("generating");
        all(&model, &prompt, options, decode, &device)?
    };

    let streamed = samples.len() == 1;
    let text = if streamed { String::new() } else { numbered(&samples) };
    if streamed && !as_json {
        eprintln!(
            "\n{} tokens, {:.1} a second; prompt {} tokens, {:.1} a second",
            samples[0].tokens.len(),
            timing.decode_tokens_per_second(),
            timing.prompt_tokens,
            timing.prefill_tokens_per_second()
        );
    }
    let mut json = match sample_json(samples.remove(0), logprobs) {
        Value::Object(first) => first,
        _ => Map::new(),
    };
    if !samples.is_empty() {
        let others: Vec<Value> = samples.into_iter().map(|sample| sample_json(sample, logprobs)).collect();
        json.insert("more_samples".into(), json!(others));
    }
    json.insert("model".into(), model::named(&found));
    json.insert("quantize".into(), json!(args.quantize.map(Quantize::name)));
    json.insert("prompt_tokens".into(), json!(prompt.len()));
    json.insert("prefill_tokens_per_second".into(), json!(timing.prefill_tokens_per_second()));
    json.insert("decode_tokens_per_second".into(), json!(timing.decode_tokens_per_second()));
    json.insert("first_token_seconds".into(), json!(timing.first_token.as_secs_f64()));
    Ok(Report { text, json: Value::Object(json) })
}

/// Prints pieces as they come.
fn print<D: contextlm_generate::Decode>(
    mut stream: TextStream<'_, impl Backbone, D>,
) -> Result<(Vec<Generated>, Timing), Box<dyn std::error::Error>> {
    let mut out = io::stdout().lock();
    let mut text = String::new();
    for piece in &mut stream {
        let piece = piece?;
        // Whoever reads may have had enough.
        if out.write_all(piece.as_bytes()).and_then(|()| out.flush()).is_err() {
            break;
        }
        text += &piece;
    }
    let (tokens, logprobs) = (stream.tokens().to_vec(), stream.logprobs().to_vec());
    let generated = Generated { prompt: 0, tokens, logprobs, text, finish: stream.finish() };
    Ok((vec![generated], stream.timing()))
}

fn all<D: contextlm_generate::Decode>(
    model: &ContextLm,
    prompt: &[u32],
    options: GenerateOptions,
    decode: D,
    device: &Device,
) -> Result<(Vec<Generated>, Timing), GenerateError> {
    let mut generator = Generator::new(model, &[prompt], options, decode, device)?;
    while generator.step()? {}
    let timing = generator.timing();
    Ok((generator.into_generated(), timing))
}

fn numbered(samples: &[Generated]) -> String {
    samples.iter().enumerate().map(|(number, sample)| format!("-- {}\n{}\n", number + 1, sample.text)).collect()
}

fn sample_json(sample: Generated, logprobs: bool) -> Value {
    let finish = sample.finish.map(|finish| match finish {
        Finish::Length => "length",
        Finish::StopToken => "stop_token",
        Finish::StopString => "stop_string",
        Finish::Window => "window",
        Finish::Cancelled => "cancelled",
    });
    let mut json = json!({ "text": sample.text, "tokens": sample.tokens, "finish": finish });
    if logprobs {
        json["logprobs"] = json!(sample.logprobs);
    }
    json
}
