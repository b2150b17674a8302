//! Our side: answers requests, line by line.

use std::error::Error;
use std::io::{BufRead, Write};

use contextlm_core::Device;

use crate::generation::Generation;
use crate::request::Reply;
use crate::training::Training;
use crate::{Answer, Request, loading, memory, tokenising};

/// What is kept from one request to the next, so that a model is built once.
enum Held {
    Nothing,
    Training(Box<Training>),
    Generation(Box<Generation>),
}

/// Answers the requests of `input` on `output` until there are none: the process behind a [`Side`](crate::Side).
///
/// # Errors
/// Lines that cannot be read or written. What fails in measuring is an answer too.
pub fn answer_requests(device: &Device, input: impl BufRead, mut output: impl Write) -> std::io::Result<()> {
    let empty = memory::anonymous_bytes();
    let mut held = Held::Nothing;
    for line in input.lines() {
        let reply = match answer(&line?, device, &mut held) {
            Ok(mut answer) => {
                answer.program = Some(concat!("contextlm ", env!("CARGO_PKG_VERSION")).into());
                answer.peak_bytes = answer.peak_bytes.zip(empty).map(|(peak, empty)| peak.saturating_sub(empty));
                Reply::Answer(answer)
            }
            Err(error) => Reply::Error(error.to_string()),
        };
        writeln!(output, "{}", serde_json::to_string(&reply)?)?;
        output.flush()?;
    }
    Ok(())
}

fn answer(line: &str, device: &Device, held: &mut Held) -> Result<Answer, Box<dyn Error>> {
    let request: Request = serde_json::from_str(line)?;
    match &request {
        Request::Training { steps, warmup, .. } => {
            let training = match held {
                Held::Training(training) if training.is_for(&request) => training,
                held => {
                    // The old one goes first.
                    *held = Held::Nothing;
                    *held = Held::Training(Box::new(Training::new(&request, device)?));
                    let Held::Training(training) = held else { return Err("no training".into()) };
                    training
                }
            };
            training.measure(*steps, *warmup)
        }
        Request::Generation { new_tokens, .. } => {
            let generation = match held {
                Held::Generation(generation) if generation.is_for(&request) => generation,
                held => {
                    *held = Held::Nothing;
                    *held = Held::Generation(Box::new(Generation::new(&request, device)?));
                    let Held::Generation(generation) = held else { return Err("no model".into()) };
                    generation
                }
            };
            generation.measure(*new_tokens)
        }
        Request::Loading { dir } => loading::measure(dir, device),
        Request::Tokenising { tokenizer, text } => tokenising::measure(tokenizer, text),
    }
}
