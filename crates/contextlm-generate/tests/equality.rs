//! Cached logits are those of the full forward pass.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use contextlm_core::{
    Backbone, BackboneConfig, ContextConfig, ContextLm, FloatDType, FusionKind, InitialContextKind, Source,
};
use contextlm_generate::{Beyond, DecoderState, GenerateError};

fn state(model: &ContextLm, rows: usize) -> DecoderState<'_, contextlm_core::AnyBackbone> {
    DecoderState::new(model, rows, 8, Beyond::Stop, &cpu()).unwrap()
}

/// Logits of all tokens fed in pieces of these lengths, the last of which repeats.
fn fed(model: &ContextLm, tokens: &[u32], lengths: &[usize]) -> Vec<Vec<f32>> {
    let (mut state, mut logits, mut rest) = (state(model, 1), Vec::new(), tokens);
    assert!(!state.recomputes());
    let mut lengths = lengths.iter().chain(lengths.last().into_iter().cycle());
    while !rest.is_empty() {
        let (piece, later) = rest.split_at((*lengths.next().unwrap()).min(rest.len()));
        logits.extend(rows(state.feed_all(&[piece]).unwrap()));
        rest = later;
    }
    logits
}

/// Prompts of 1..=3w+1 tokens at once, then 40 tokens one by one.
fn check_prompts(model: &ContextLm, w: usize, what: &str) {
    for prompt in 1..=3 * w + 1 {
        let tokens = tokens(prompt + 40, prompt);
        assert_equal(&fed(model, &tokens, &[prompt, 1]), &full(model, &tokens), &format!("{what}, prompt {prompt}"));
    }
}

/// Every fusion with every pooling.
fn combinations(backbone: fn(usize) -> BackboneConfig) -> Vec<(String, ContextLm)> {
    let pairs = FUSIONS.into_iter().flat_map(|fusion| POOLINGS.into_iter().map(move |pooling| (fusion, pooling)));
    let build = |(fusion, pooling)| {
        let context = ContextConfig { fusion, pooling, chunk_size: 3, ..ContextConfig::default() };
        (format!("{fusion:?} {pooling:?}"), model(backbone(64), Some(context)))
    };
    pairs.map(build).collect()
}

fn check_combinations(backbone: fn(usize) -> BackboneConfig) {
    for (what, model) in combinations(backbone) {
        check_prompts(&model, 3, &what);
    }
}

#[test]
fn every_fusion_and_pooling_on_gpt_2_equals_the_full_pass() {
    check_combinations(gpt2);
}

#[test]
fn every_fusion_and_pooling_on_gpt_neox_equals_the_full_pass() {
    check_combinations(neox);
}

#[test]
fn every_fusion_and_pooling_on_llama_equals_the_full_pass() {
    check_combinations(llama);
}

/// The other settings, one by one, under a fusion that adds and one that interleaves.
fn variants() -> Vec<(String, ContextLm, usize)> {
    let backbones = [("gpt2", gpt2(64)), ("neox", neox(64)), ("llama", llama(64))];
    let plain = |(name, backbone)| (format!("plain {name}"), model(backbone, None), 2);
    let mut all: Vec<(String, ContextLm, usize)> = backbones.into_iter().map(plain).collect();
    for fusion in [FusionKind::NormedAdd, FusionKind::Interleave] {
        let base = ContextConfig { fusion, chunk_size: 4, ..ContextConfig::default() };
        let cases = [
            ("w = 1", ContextConfig { chunk_size: 1, ..base.clone() }),
            ("w = 2", ContextConfig { chunk_size: 2, ..base.clone() }),
            ("w = 1000", ContextConfig { chunk_size: 1000, ..base.clone() }),
            ("zero", ContextConfig { initial_context: InitialContextKind::Zero, ..base.clone() }),
            (
                "constant zero",
                ContextConfig { source: Source::Constant, initial_context: InitialContextKind::Zero, ..base.clone() },
            ),
            ("constant", ContextConfig { source: Source::Constant, ..base.clone() }),
            ("E = 0", ContextConfig { encoder_layers: 0, ..base.clone() }),
            ("P = 0", ContextConfig { predictor_layers: 0, predictor_norm: false, ..base.clone() }),
        ];
        for (name, context) in cases {
            let w = context.chunk_size.min(4);
            all.push((format!("{fusion:?} {name}"), model(gpt2(64), Some(context.clone())), w));
            all.push((format!("{fusion:?} {name} rotary"), model(neox(64), Some(context)), w));
        }
    }
    let last = ContextConfig { encoder_layers: 2, ..ContextConfig::default() };
    all.push(("E = L".into(), model(gpt2(64), Some(last)), 4));
    all
}

#[test]
fn every_other_setting_equals_the_full_pass() {
    for (what, model, w) in variants() {
        check_prompts(&model, w, &what);
    }
}

#[test]
fn a_prompt_may_be_cut_anywhere() {
    let variants = variants().into_iter().map(|(what, model, _)| (what, model));
    for (what, model) in variants.chain(combinations(neox)) {
        let tokens = tokens(14, 5);
        let expected = full(&model, &tokens);
        for first in 1..tokens.len() {
            for rest in [1, 2, 5] {
                assert_equal(&fed(&model, &tokens, &[first, rest]), &expected, &format!("{what}, {first}, {rest}"));
            }
        }
    }
}

#[test]
fn models_in_bf16_decode_what_they_compute() {
    for (what, model, _) in variants() {
        let model = model.cast(FloatDType::BF16);
        let (prompt, next) = (tokens(9, 1), tokens(7, 2));
        let mut state = state(&model, 1);
        let mut found = rows(state.feed_all(&[&prompt]).unwrap());
        for token in next.chunks(1) {
            found.extend(rows(state.feed(&[token]).unwrap().unsqueeze_dim(1)));
        }
        let expected = full(&model, &[prompt, next].concat());
        // Both round to bf16 between products of other sizes.
        for (found, expected) in found.iter().zip(&expected) {
            let largest = expected.iter().fold(1.0_f32, |largest, logit| largest.max(logit.abs()));
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 2e-2 * largest), "{what}");
        }
    }
}

#[test]
fn every_row_of_a_batch_is_as_if_alone() {
    let variants = variants().into_iter().map(|(what, model, _)| (what, model));
    for (what, model) in variants.chain(combinations(llama)) {
        let texts: Vec<Vec<u32>> = (0..4).map(|row| tokens(30, row + 1)).collect();
        // Pieces of every row in every call: prompts, further pieces, single tokens, and a row that pauses.
        let mut calls: Vec<[usize; 4]> = vec![[1, 7, 4, 0], [3, 0, 5, 2]];
        calls.extend([[1, 1, 1, 1]; 6]);
        calls.extend([[1, 1, 0, 1], [1, 0, 1, 2], [0, 1, 1, 1]]);
        let (mut state, mut done) = (state(&model, 4), [0; 4]);
        let mut found: [Vec<Vec<f32>>; 4] = Default::default();
        for call in calls {
            let pieces: Vec<&[u32]> = (0..4).map(|row| &texts[row][done[row]..done[row] + call[row]]).collect();
            let logits = state.feed_all(&pieces).unwrap();
            for row in 0..4 {
                let of_row = rows(logits.clone().narrow(0, row, 1));
                found[row].extend(of_row.into_iter().take(call[row]));
                done[row] += call[row];
            }
        }
        let last = rows(state.logits().unwrap().unsqueeze_dim(1));
        for row in 0..4 {
            let expected = full(&model, &texts[row][..done[row]]);
            assert_equal(&found[row], &expected, &format!("{what}, row {row}"));
            assert_equal(&last[row..row + 1], &expected[done[row] - 1..], &format!("{what}, row {row}, last"));
        }
    }
}

#[test]
fn a_copy_goes_on_by_itself_and_rows_may_be_chosen() {
    for (what, model, _) in variants() {
        let (prefix, one, two) = (tokens(9, 1), tokens(7, 2), tokens(6, 3));
        let mut first = state(&model, 2);
        first.feed(&[&prefix, &one]).unwrap();
        let mut second = first.clone();
        let mut chosen = first.with_rows(&[1, 0, 0]).unwrap();
        let expected = |start: &[u32], next: &[u32]| full(&model, &[start, next].concat()).pop().unwrap();
        let check = |state: &mut DecoderState<'_, _>, pieces: &[&[u32]], wanted: Vec<Vec<f32>>| {
            let found = rows(state.feed(pieces).unwrap().unsqueeze_dim(1));
            assert_equal(&found, &wanted, &what);
        };
        check(&mut first, &[&one, &two], vec![expected(&prefix, &one), expected(&one, &two)]);
        check(&mut second, &[&two, &prefix], vec![expected(&prefix, &two), expected(&one, &prefix)]);
        let wanted = vec![expected(&one, &one), expected(&prefix, &two), expected(&prefix, &one)];
        check(&mut chosen, &[&one, &two, &one], wanted);
    }
}

/// Saving and restoring changes nothing: a copy goes on with the very numbers of the original.
#[test]
fn a_copy_is_exact() {
    for (what, model, _) in variants() {
        let mut first = state(&model, 2);
        first.feed(&[&tokens(9, 1), &tokens(7, 2)]).unwrap();
        let saved = first.clone();
        let run = |mut state: DecoderState<'_, _>| -> Vec<Vec<f32>> {
            let text = tokens(9, 4);
            text.chunks(1).flat_map(|token| rows(state.feed(&[token, token]).unwrap().unsqueeze_dim(1))).collect()
        };
        let expected = run(first);
        assert!(run(saved.clone()) == expected && run(saved) == expected, "{what}");
    }
}

#[test]
fn states_give_the_logits_that_feeding_gives() {
    for (what, model, _) in variants() {
        let (prompt, one, two) = (tokens(9, 1), tokens(7, 2), tokens(3, 3));
        let mut state = state(&model, 2);
        let mut found: [Vec<Vec<f32>>; 2] = Default::default();
        let head = model.backbone.head().transpose();
        for pieces in [[&prompt[..], &one], [&two, &[]], [&one, &prompt]] {
            let states = state.feed_states(&pieces).unwrap();
            assert!(state.logits().is_none());
            for (row, piece) in pieces.iter().enumerate() {
                let of_row = rows(states.clone().narrow(0, row, 1).matmul(head.clone().unsqueeze()));
                found[row].extend(of_row.into_iter().take(piece.len()));
            }
        }
        let texts = [[&prompt[..], &two, &one].concat(), [one, prompt].concat()];
        for (found, text) in found.iter().zip(&texts) {
            assert_equal(found, &full(&model, text), &what);
        }
        // Nothing is known of the last token of a row that gets none.
        assert!(matches!(state.feed(&[&[1], &[]]), Err(GenerateError::EmptyPrompt { row: 1 })));
        assert!(matches!(state.feed_all(&[&[1], &[]]), Err(GenerateError::EmptyPrompt { row: 1 })));
        let next = rows(state.feed(&[&[1], &[2]]).unwrap().unsqueeze_dim(1));
        let expected = texts.iter().zip([1, 2]).map(|(text, next)| full(&model, &[&text[..], &[next]].concat()).pop());
        assert_equal(&next, &expected.map(Option::unwrap).collect::<Vec<_>>(), &what);
        assert!(state.feed_states(&[&[], &[]]).is_err() && state.feed_states(&[&[1]]).is_err());
    }
}
