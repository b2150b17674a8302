//! Generation from prompts to text: windows, stops, samples, streams, errors.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "generation/custom.rs"]
mod custom;

use common::*;
use contextlm_core::{BackboneConfig, ContextConfig, ContextLm, ContextLmConfig, FusionKind, Gpt2Config};
use contextlm_generate::{
    Beyond, CacheBytes, Cancel, DecoderState, Finish, GenerateError, GenerateOptions, Generator, Sampling, TextStream,
    generate,
};

fn context() -> ContextLm {
    model(neox(64), Some(ContextConfig { chunk_size: 3, ..ContextConfig::default() }))
}

/// Tokens as letters.
fn letters(tokens: &[u32]) -> Result<String, String> {
    tokens.iter().map(|&token| char::from_u32('a' as u32 + token).ok_or("no letter".to_string())).collect()
}

/// Greedy tokens of the full pass, up to the first choice that is so unclear that rounding could change it.
fn clear_greedy(model: &ContextLm, prompt: &[u32], new: usize) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    for _ in 0..new {
        let last = full(model, &tokens).pop().unwrap();
        if !is_clear(&last) {
            break;
        }
        tokens.push(first_choice(&last).0 as u32);
    }
    tokens.split_off(prompt.len())
}

/// The same where every choice is clear.
fn greedy(model: &ContextLm, prompt: &[u32], new: usize) -> Vec<u32> {
    let tokens = clear_greedy(model, prompt, new);
    assert_eq!(tokens.len(), new, "choose another prompt");
    tokens
}

fn options(max_new_tokens: usize) -> GenerateOptions {
    GenerateOptions { max_new_tokens, ..GenerateOptions::default() }
}

#[test]
fn greedy_text_is_that_of_the_full_pass_in_batches_too() {
    let model = context();
    let prompts: Vec<Vec<u32>> = [1, 5, 3, 6].iter().map(|&length| tokens(length, length)).collect();
    let pieces: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let all = generate(&model, &pieces, GenerateOptions { logprobs: true, ..options(12) }, letters, &cpu()).unwrap();
    let mut compared = 0;
    for (prompt, found) in prompts.iter().zip(&all) {
        let expected = clear_greedy(&model, prompt, 12);
        assert!(found.tokens.starts_with(&expected));
        compared += expected.len();
        assert_eq!(
            (found.text.as_str(), found.finish),
            (letters(&found.tokens).unwrap().as_str(), Some(Finish::Length))
        );
        let logits = full(&model, &[prompt.as_slice(), &found.tokens].concat());
        for (i, (&token, logprob)) in found.tokens.iter().zip(&found.logprobs).enumerate() {
            let of_step = &logits[prompt.len() - 1 + i];
            let total: f64 = of_step.iter().map(|&logit| f64::from(logit).exp()).sum();
            assert!((f64::from(of_step[token as usize]) - total.ln() - logprob).abs() < 1e-4);
        }
    }
    assert!(compared > 24, "only {compared} choices are clear");
}

/// 40 greedy tokens behind prompts of every length, for every fusion.
#[test]
fn greedy_text_is_that_of_the_full_pass() {
    let (mut compared, mut all) = (0, 0);
    for fusion in FUSIONS {
        let model = model(gpt2(64), Some(ContextConfig { fusion, chunk_size: 3, ..ContextConfig::default() }));
        for length in 1..=10 {
            let prompt = tokens(length, length);
            let expected = clear_greedy(&model, &prompt, 40);
            let found = generate(&model, &[&prompt], options(40), letters, &cpu()).unwrap().remove(0);
            assert!(found.tokens.starts_with(&expected), "{fusion:?}, prompt {length}");
            (compared, all) = (compared + expected.len(), all + 40);
        }
    }
    assert!(compared * 2 > all, "only {compared} choices of {all} are clear");
}

#[test]
fn samples_share_a_prompt_and_a_seed_repeats_them() {
    let model = context();
    let sampling = Sampling { temperature: 1.0, vocabulary: Some(20), seed: 7, ..Sampling::default() };
    let options = GenerateOptions { samples: 3, sampling, ..options(30) };
    let prompts: [&[u32]; 2] = [&[1, 2, 3, 4], &[5]];
    let run = || generate(&model, &prompts, options.clone(), letters, &cpu()).unwrap();
    let all = run();
    assert_eq!(all.iter().map(|sample| sample.prompt).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
    assert!(all[0].tokens != all[1].tokens && all[1].tokens != all[2].tokens && all[3].tokens != all[4].tokens);
    assert!(all.iter().flat_map(|sample| &sample.tokens).all(|&token| token < 20));
    assert_eq!(run(), all);
}

#[test]
fn stops_end_a_sample() {
    let model = context();
    let plain = greedy(&model, &[4, 2], 12);
    let text = letters(&plain).unwrap();
    let (stop, first) = (text[3..5].to_string(), text.find(&text[3..5]).unwrap());
    let run = |options| generate(&model, &[&[4, 2]], options, letters, &cpu()).unwrap().remove(0);
    let stopped = run(GenerateOptions { stop_strings: vec![stop], ..options(12) });
    assert_eq!((stopped.text.as_str(), stopped.finish), (&text[..first], Some(Finish::StopString)));
    assert_eq!(stopped.tokens, plain[..first + 2]);
    let at = plain.iter().position(|token| *token == plain[4]).unwrap();
    let stopped = run(GenerateOptions { stop_tokens: vec![plain[4]], ..options(12) });
    assert_eq!((stopped.tokens.as_slice(), stopped.finish), (&plain[..at], Some(Finish::StopToken)));
}

#[test]
fn a_stream_gives_the_same_text_and_can_be_cancelled() {
    let model = context();
    let bytes = |tokens: &[u32]| -> Result<String, String> {
        // Every token is half of a character of two bytes.
        let bytes: Vec<u8> = tokens.iter().enumerate().map(|(i, _)| [0xc3, 0xa9][i % 2]).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let mut stream = TextStream::new(&model, &[4, 2], options(7), bytes, &cpu()).unwrap();
    let pieces: Vec<String> = stream.by_ref().map(Result::unwrap).collect();
    assert_eq!(pieces, ["é", "é", "é", "\u{fffd}"]);
    assert_eq!((stream.tokens(), stream.finish()), (greedy(&model, &[4, 2], 7).as_slice(), Some(Finish::Length)));
    let timing = stream.timing();
    assert_eq!((timing.prompt_tokens, timing.decoded_tokens), (2, 6));
    assert!(timing.first_token >= timing.prefill && timing.decode_tokens_per_second() > 0.0);

    let cancel = Cancel::default();
    let options = GenerateOptions { cancel: cancel.clone(), ..options(50) };
    let mut stream = TextStream::new(&model, &[4, 2], options, letters, &cpu()).unwrap();
    stream.next().unwrap().unwrap();
    std::thread::spawn(move || cancel.cancel()).join().unwrap();
    assert!(stream.next().is_none());
    assert_eq!((stream.tokens().len(), stream.finish()), (1, Some(Finish::Cancelled)));
}

#[test]
fn a_row_without_a_new_token_keeps_its_logits() {
    let model = context();
    let mut state = DecoderState::new(&model, 2, 16, Beyond::Stop, &cpu()).unwrap();
    let before = rows(state.feed(&[&[1, 2, 3], &[4]]).unwrap().unsqueeze_dim(1));
    let after = rows(state.feed(&[&[], &[5, 6]]).unwrap().unsqueeze_dim(1));
    assert_eq!(after[0], before[0]);
    assert_equal(&after[1..], &full(&model, &[4, 5, 6])[2..], "the row that went on");
    assert_eq!(rows(state.feed(&[&[], &[]]).unwrap().unsqueeze_dim(1)), after);
}

#[test]
fn a_prefix_is_run_once() {
    let model = context();
    let mut state = DecoderState::new(&model, 1, 16, Beyond::Stop, &cpu()).unwrap();
    state.feed(&[&[1, 2, 3, 4]]).unwrap();
    for rest in [&[][..], &[9], &[7, 8, 9]] {
        let mut generator = Generator::from_state(state.clone(), &[rest], options(8), letters).unwrap();
        while generator.step().unwrap() {}
        let expected = greedy(&model, &[&[1, 2, 3, 4], rest].concat(), 8);
        assert_eq!(generator.into_generated().remove(0).tokens, expected);
    }
}

/// The state says what happens at the end of the window, not the options.
#[test]
fn a_full_window_slides_if_the_state_does() {
    let learned = model(gpt2(8), Some(ContextConfig { chunk_size: 3, ..ContextConfig::default() }));
    for (beyond, other, expected) in [
        (Beyond::Slide { keep: 4 }, Beyond::Stop, (20, Finish::Length)),
        (Beyond::Stop, Beyond::Slide { keep: 4 }, (1, Finish::Window)),
    ] {
        let mut state = DecoderState::new(&learned, 1, 8, beyond, &cpu()).unwrap();
        state.feed(&[&tokens(8, 1)]).unwrap();
        let options = GenerateOptions { beyond: other, ..options(20) };
        let mut generator = Generator::from_state(state, &[&[]], options, letters).unwrap();
        while generator.step().unwrap() {}
        let found = generator.into_generated().remove(0);
        assert_eq!((found.tokens.len(), found.finish.unwrap()), expected);
    }
}

#[test]
fn samples_that_have_ended_leave_the_batch() {
    let model = context();
    // Three that stop at their first token, and one that goes on without it.
    let stop = greedy(&model, &[1, 2], 1)[0];
    let goes_on = |token: &u32| !greedy(&model, &[*token], 4).contains(&stop);
    let last = (0..VOCABULARY as u32).find(goes_on).unwrap();
    let prompts: [&[u32]; 4] = [&[1, 2], &[1, 2], &[last], &[1, 2]];
    let alone: Vec<Vec<u32>> = prompts.iter().map(|prompt| greedy(&model, prompt, 12)).collect();
    let cut = |tokens: &[u32]| -> Vec<u32> { tokens.iter().copied().take_while(|&token| token != stop).collect() };
    let options = GenerateOptions { stop_tokens: vec![stop], ..options(12) };
    let mut generator = Generator::new(&model, &prompts, options, letters, &cpu()).unwrap();
    let mut rows = Vec::new();
    while generator.step().unwrap() {
        rows.push(generator.rows());
    }
    assert!(rows.len() > 2, "{rows:?}");
    assert!(rows[0] == 4 && rows[1..].iter().all(|&rows| rows == 1), "{rows:?}");
    let found: Vec<Vec<u32>> = generator.into_generated().into_iter().map(|generated| generated.tokens).collect();
    assert_eq!(found, alone.iter().map(|tokens| cut(tokens)).collect::<Vec<_>>());
}

#[test]
fn learned_positions_stop_or_slide_and_rotary_ones_may_go_on() {
    let settings = ContextConfig { chunk_size: 3, ..ContextConfig::default() };
    let learned = model(gpt2(8), Some(settings.clone()));
    let new = |model, beyond| DecoderState::new(model, 2, 4, beyond, &cpu());
    let mut state = new(&learned, Beyond::Stop).unwrap();
    let error = state.feed(&[&tokens(9, 1), &[1]]).unwrap_err();
    assert!(matches!(error, GenerateError::Window { row: 0, length: 9, positions: 8 }), "{error}");
    state.feed(&[&tokens(8, 1), &[1]]).unwrap(); // as before
    assert!(matches!(new(&learned, Beyond::Continue), Err(GenerateError::Setting { key: "beyond", .. })));
    assert!(matches!(new(&learned, Beyond::Slide { keep: 8 }), Err(GenerateError::Setting { key: "keep", .. })));

    let mut state = new(&learned, Beyond::Slide { keep: 5 }).unwrap();
    let (long, short) = (tokens(20, 1), tokens(20, 2));
    state.feed(&[&long[..6], &short[..2]]).unwrap();
    let mut start = [0; 2];
    for step in 0..9 {
        let ends = [7 + step, 3 + step];
        let found = state.feed(&[&long[ends[0] - 1..ends[0]], &short[ends[1] - 1..ends[1]]]).unwrap();
        let found = rows(found.unsqueeze_dim(1));
        for (row, text) in [&long, &short].into_iter().enumerate() {
            if ends[row] - start[row] > 8 {
                start[row] += 3;
            }
            let expected = full(&learned, &text[start[row]..ends[row]]).pop().unwrap();
            assert_equal(&found[row..=row], &[expected], &format!("row {row}, step {step}"));
        }
    }
    let text = generate(&learned, &[&[1, 2]], options(20), letters, &cpu()).unwrap().remove(0);
    assert_eq!((text.finish, text.tokens.len()), (Some(Finish::Window), 7));

    let rotary = model(neox(8), Some(settings));
    let mut state = DecoderState::new(&rotary, 1, 4, Beyond::Continue, &cpu()).unwrap();
    let mut found = rows(state.feed_all(&[&long[..7]]).unwrap());
    for token in &long[7..] {
        found.extend(rows(state.feed_all(&[&[*token]]).unwrap()));
    }
    assert_equal(&found, &full(&rotary, &long), "beyond");
}

#[test]
fn what_cannot_run_is_an_error() {
    let model = context();
    let mut state = DecoderState::new(&model, 2, usize::MAX, Beyond::Stop, &cpu()).unwrap();
    assert_eq!(state.capacity(), 64);
    assert!(matches!(state.feed(&[&[1]]), Err(GenerateError::Rows { expected: 2, found: 1 })));
    assert!(matches!(state.feed(&[&[1], &[23]]), Err(GenerateError::Token { row: 1, token: 23, vocabulary: 23 })));
    assert!(matches!(state.feed(&[&[], &[]]), Err(GenerateError::EmptyPrompt { .. })));
    let run = |options| generate(&model, &[&[1], &[]], options, letters, &cpu()).unwrap_err();
    assert!(matches!(run(options(4)), GenerateError::EmptyPrompt { row: 1 }));
    for samples in [usize::MAX, 1 << 16] {
        let many = GenerateOptions { samples, ..options(4) };
        let error = generate(&model, &[&[1], &[2]], many, letters, &cpu()).unwrap_err();
        assert!(matches!(error, GenerateError::Setting { key: "samples", .. }), "{error}");
    }
    let none = GenerateOptions { stop_strings: vec!["".into()], ..options(4) };
    assert!(matches!(run(none), GenerateError::Setting { key: "stop", .. }));
    for (key, sampling) in [
        ("temperature", Sampling { temperature: f32::NAN, ..Sampling::default() }),
        ("top_p", Sampling { top_p: 1.5, ..Sampling::default() }),
        ("logit_bias", Sampling { logit_bias: vec![(23, 1.0)], ..Sampling::default() }),
        ("vocabulary", Sampling { vocabulary: Some(24), ..Sampling::default() }),
    ] {
        let error = run(GenerateOptions { sampling, ..options(4) });
        assert!(matches!(error, GenerateError::Setting { key: found, .. } if found == key), "{error}");
    }
    let sampling = Sampling { vocabulary: Some(1), logit_bias: vec![(0, f32::NEG_INFINITY)], ..Sampling::default() };
    let nothing = GenerateOptions { sampling, ..options(4) };
    let error = generate(&model, &[&[1]], nothing, letters, &cpu()).unwrap_err();
    assert!(matches!(error, GenerateError::NothingToSample { row: 0 }), "{error}");
    let huge = GenerateOptions { stop_tokens: (0..23).collect(), ..options(usize::MAX) };
    assert!(generate(&model, &[&[1]], huge, letters, &cpu()).unwrap()[0].tokens.is_empty());
}

#[test]
fn bytes_are_those_of_keys_and_values() {
    let of = |fusion| {
        let context = ContextConfig { fusion, chunk_size: 3, ..ContextConfig::default() };
        CacheBytes::of(&model(neox(64), Some(context)), &cpu()).unwrap()
    };
    let block = 2 * 16 * 4; // keys and values of 16 dimensions in f32
    let added = of(FusionKind::Add);
    assert_eq!((added.per_token, added.per_chunk, added.per_sequence), (2 * block, 2 * block, 3 * 16 * 4));
    assert_eq!(of(FusionKind::Interleave).per_chunk, 3 * block);
    let plain = CacheBytes::of(&model(neox(64), None), &cpu()).unwrap();
    assert_eq!((plain.per_token, plain.per_chunk), (2 * block, 0));
}

#[test]
fn bytes_of_a_model_that_fits_no_memory_are_counted() {
    let width = 1 << 22;
    let backbone = BackboneConfig::Gpt2(Gpt2Config { n_embd: width, n_layer: 2, n_head: 2, ..Gpt2Config::default() });
    let context = ContextConfig { fusion: FusionKind::Concat, chunk_size: 3, ..ContextConfig::default() };
    let huge = ContextLmConfig { context: Some(context), ..ContextLmConfig::new(backbone) }.init(&cpu()).unwrap();
    let block = 2 * width * 4;
    let bytes = CacheBytes::of(&huge, &cpu()).unwrap();
    assert_eq!((bytes.per_token, bytes.per_chunk, bytes.per_sequence), (2 * block, 2 * block, 3 * width * 4));
}
