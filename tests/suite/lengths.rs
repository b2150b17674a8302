//! `eval length`: every length scores the same tokens, by the model's own loss.

use burn::tensor::{Tensor, TensorData};
use contextlm_core::{ContextConfig, ContextLm, ContextLmConfig, Int, LossOptions};
use contextlm_data::Tokens;
use contextlm_eval::length::{LengthOptions, LengthReport, length_report};
use contextlm_eval::{EvalError, TextUnit, Windows};
use contextlm_tests::{VOCABULARY, contextlm, cpu, gpt2, llama, neox, tokens};

const WINDOWS: usize = 3;

fn text(longest: usize) -> Vec<u32> {
    tokens(1, WINDOWS * longest + 1, VOCABULARY, 4).into_iter().map(|id| id as u32).collect()
}

fn report(model: &ContextLm, lengths: &[usize], trained: Option<usize>) -> Result<LengthReport, EvalError> {
    let options = LengthOptions { lengths: lengths.to_vec(), trained };
    let longest = *lengths.iter().max().unwrap();
    let windows = Windows::new(&[Tokens::from(text(longest))], longest, None, TextUnit::Windows)?;
    length_report(model, &windows, &options, &cpu(), &mut |done, of| assert!(done <= of))
}

/// Mean loss by the model's own forward pass, in windows that begin anew at every long one.
fn expected(model: &ContextLm, length: usize, longest: usize) -> f64 {
    let text = text(longest);
    let row = |ids: &[u32]| -> Tensor<2, Int> {
        let ids: Vec<i64> = ids.iter().map(|&id| id.into()).collect();
        Tensor::from_data(TensorData::new(ids.clone(), [1, ids.len()]), &cpu())
    };
    let options = LossOptions { divisor: Some(1.0), ..LossOptions::default() };
    let mut nll = 0.0;
    for window in 0..WINDOWS {
        for start in (0..longest).step_by(length) {
            let (from, to) = (window * longest + start, window * longest + longest.min(start + length));
            nll += model
                .loss_with(row(&text[from..to]), row(&text[from + 1..to + 1]), &options)
                .total
                .into_scalar::<f64>();
        }
    }
    nll / (WINDOWS * longest) as f64
}

#[test]
fn losses_are_those_of_the_model_also_beyond_its_positions() {
    let context = || ContextConfig { chunk_size: 3, ..ContextConfig::default() };
    let models = [
        ContextLmConfig::new(neox()).init(&cpu()).unwrap(),
        contextlm(neox(), context(), &cpu()),
        contextlm(llama(), context(), &cpu()),
    ];
    for model in &models {
        // 64 positions; 1100 does not fit into one piece, and 50 does not divide it.
        let found = report(model, &[1100, 16, 50, 16], None).unwrap();
        assert_eq!((found.trained, found.reference, found.tokens), (64, 50, 3300));
        assert_eq!(found.lengths.iter().map(|at| at.length).collect::<Vec<_>>(), [16, 50, 1100]);
        for at in &found.lengths {
            let loss = expected(model, at.length, 1100);
            assert!((at.loss.mean - loss).abs() < 1e-4, "{}: {} and {loss}", at.length, at.loss.mean);
            assert!((at.perplexity - loss.exp()).abs() < 1e-3 * loss.exp());
            assert_eq!(at.beyond, at.length > 64);
            let reference = &found.lengths[1].loss;
            assert!((at.difference.mean - (at.loss.mean - reference.mean)).abs() < 1e-9);
            // Every position is in one bucket, and there as often as in the windows.
            assert_eq!((at.positions[0].from, at.positions.last().unwrap().to), (0, at.length));
        }
        let long = &found.lengths[2];
        let sum: f64 = long.positions.iter().map(|bucket| bucket.loss.mean * (bucket.to - bucket.from) as f64).sum();
        assert!((sum / 1100.0 - long.loss.mean).abs() < 1e-9);
        assert!(long.positions.iter().any(|bucket| bucket.from == 64));

        let shown = found.to_string();
        assert!(shown.contains("less that of 50") && shown.contains("beyond the training"), "{shown}");
        let svg = found.to_svg().unwrap();
        assert!(["windows of 16", "windows of 1100", "trained on 64"].iter().all(|part| svg.contains(part)));
        assert_eq!(svg.matches("<svg").count(), 3);
    }
}

#[test]
fn learned_positions_end() {
    let model = contextlm(gpt2(), ContextConfig::default(), &cpu());
    let found = report(&model, &[32, 64], Some(32)).unwrap();
    assert!((found.lengths[1].loss.mean - expected(&model, 64, 64)).abs() < 1e-4);
    assert!(found.lengths[1].beyond && !found.lengths[0].beyond);
    let error = report(&model, &[32, 65], None).unwrap_err();
    assert!(matches!(error, EvalError::Setting { key: "lengths", .. }));
    assert!(error.to_string().contains("lengths = 65: positions are learned and there are 64"), "{error}");
}

#[test]
fn settings_that_cannot_be_run_are_refused() {
    let model = contextlm(neox(), ContextConfig::default(), &cpu());
    let error = |lengths: &[usize], trained| {
        let options = LengthOptions { lengths: lengths.to_vec(), trained };
        options.lengths(&model).unwrap_err().to_string()
    };
    assert!(error(&[], None).contains("give at least one"));
    assert!(error(&[0, 3], None).contains("lengths = 0"));
    assert!(error(&[3], Some(0)).contains("trained = 0"));
    let windows = Windows::new(&[Tokens::from(text(9))], 8, None, TextUnit::Windows).unwrap();
    let options = LengthOptions { lengths: vec![9], trained: None };
    assert!(length_report(&model, &windows, &options, &cpu(), &mut |_, _| ()).is_err());
}
