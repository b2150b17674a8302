//! `eval context` on small random models: every number is what it says.

use burn::tensor::{Tensor, TensorData};
use contextlm_core::{ContextConfig, ContextLm, ContextLmConfig, Device, InitialContextKind, Int, LossOptions, Source};
use contextlm_data::Tokens;
use contextlm_eval::context::{ContextOptions, ContextReport, ProbeOptions, Replacement, context_report};
use contextlm_eval::{EvalError, TextUnit, Windows};
use contextlm_tests::{FUSIONS, VOCABULARY, backbones, contextlm, cpu, gpt2, neox, tokens};

const LENGTH: usize = 13;
const WINDOWS: usize = 7;

fn text() -> Vec<u32> {
    tokens(1, WINDOWS * LENGTH + 1, VOCABULARY, 4).into_iter().map(|id| id as u32).collect()
}

fn windows(length: usize) -> Windows {
    Windows::new(&[Tokens::from(text())], length, None, TextUnit::Windows).unwrap()
}

fn options() -> ContextOptions {
    ContextOptions { rows: Some(3), probe: ProbeOptions { samples: 20, classes: 5, steps: 10, seed: 0 } }
}

fn report(model: &ContextLm, length: usize) -> Result<ContextReport, EvalError> {
    context_report(model, None, &windows(length), options(), &cpu(), &mut |_, _, _| ())
}

/// Inputs of a window.
fn row(window: usize, device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i64> = text()[window * LENGTH..].iter().take(LENGTH).map(|&id| id.into()).collect();
    Tensor::from_data(TensorData::new(ids, [1, LENGTH]), device)
}

fn plain() -> ContextLm {
    ContextLmConfig::new(gpt2()).init(&cpu()).unwrap()
}

/// Summed loss of the guided tokens of a window, by the model's own loss: those before w - 1 have no target.
fn guided(model: &ContextLm, window: usize, w: usize, contexts: Option<Tensor<3>>) -> f64 {
    let device = cpu();
    let ids = text().into_iter().skip(window * LENGTH + 1).take(LENGTH).enumerate();
    let targets: Vec<i64> = ids.map(|(t, id)| if t < w - 1 { -100 } else { id.into() }).collect();
    let targets = Tensor::from_data(TensorData::new(targets, [1, LENGTH]), &device);
    let options = LossOptions { contexts, divisor: Some(1.0), ..LossOptions::default() };
    model.loss_with(row(window, &device), targets, &options).total.into_scalar::<f64>()
}

#[test]
fn losses_are_those_of_the_model_under_these_contexts() {
    let device = cpu();
    for backbone in backbones() {
        for fusion in FUSIONS {
            for chunk_size in [1, 3, 4] {
                let context = ContextConfig { chunk_size, fusion, ..ContextConfig::default() };
                let model = contextlm(backbone.clone(), context, &device);
                let found = report(&model, LENGTH).unwrap();
                let count = (WINDOWS * (LENGTH + 1 - chunk_size)) as f64;
                assert_eq!(found.guided as f64, count);
                let own = |window: usize| model.predicted_contexts(row(window, &device)).unwrap();
                let chunks = LENGTH / chunk_size;
                let all: Vec<_> = (0..WINDOWS).map(|window| own(window).narrow(1, 1, chunks)).collect();
                let mean = Tensor::cat(all, 1).mean_dim(1);
                let swapped = |window: usize, by: Replacement| {
                    let contexts = own(window);
                    let first = contexts.clone().narrow(1, 0, 1);
                    let predicted = match by {
                        Replacement::Initial => first.clone().expand([1, chunks, 16]),
                        Replacement::Mean => mean.clone().expand([1, chunks, 16]),
                        Replacement::OtherText => own((window + WINDOWS / 2) % WINDOWS).narrow(1, 1, chunks),
                        _ => contexts.narrow(1, 0, chunks),
                    };
                    Tensor::cat(vec![first, predicted], 1)
                };
                let sum = |contexts: &dyn Fn(usize) -> Option<Tensor<3>>| {
                    (0..WINDOWS).map(|window| guided(&model, window, chunk_size, contexts(window))).sum::<f64>() / count
                };
                let loss = sum(&|_| None);
                let what = format!("{fusion:?}, w = {chunk_size}");
                assert!((found.guided_loss.all.mean - loss).abs() < 1e-4, "{what}: {found:?}");
                for replaced in &found.replaced {
                    let rise = sum(&|window| Some(swapped(window, replaced.by))) - loss;
                    let shown = replaced.rise.all.mean;
                    assert!((shown - rise).abs() < 1e-4, "{what}: {:?} {shown}, not {rise}", replaced.by);
                }
                assert!(found.replaced[2].rise.all.mean.abs() > 1e-3, "{what}: the swap shows");
            }
        }
    }
}

#[test]
fn places_add_up_and_errors_are_of_texts() {
    let model = contextlm(neox(), ContextConfig { chunk_size: 3, ..ContextConfig::default() }, &cpu());
    let found = report(&model, LENGTH).unwrap();
    // Positions 2 to 12 are guided; four of them predict first tokens, seven the others.
    let (rise, later) = (&found.replaced[0].rise, found.replaced[0].rise.later.unwrap());
    assert_eq!(rise.places.len(), 3);
    assert_eq!(rise.places[0], rise.first);
    assert!((rise.all.mean - (4.0 * rise.first.mean + 7.0 * later.mean) / 11.0).abs() < 1e-9);
    assert_eq!((found.windows, found.texts, found.tokens), (WINDOWS, WINDOWS, WINDOWS * LENGTH));

    // A batch size changes nothing, and neither does what is computed beside.
    let one = ContextOptions { rows: Some(1), ..options() };
    let again = context_report(&model, None, &windows(LENGTH), one, &cpu(), &mut |_, _, _| ()).unwrap();
    assert!((again.loss.mean - found.loss.mean).abs() < 1e-5);
    assert!((again.similarity.raw.actual.mean - found.similarity.raw.actual.mean).abs() < 1e-5);
}

#[test]
fn a_predictor_that_repeats_its_chunk_is_seen_as_such() {
    // No layers and no norm: the prediction for chunk k is the embedding of chunk k - 1.
    let context =
        ContextConfig { predictor_layers: 0, predictor_norm: false, chunk_size: 3, ..ContextConfig::default() };
    let found = report(&contextlm(gpt2(), context, &cpu()), LENGTH).unwrap();
    for cosines in [found.similarity.raw, found.similarity.centred] {
        assert!(cosines.actual.mean < 0.999, "{cosines:?}");
    }
    assert!((found.similarity.raw.chunk_before.mean - 1.0).abs() < 1e-6, "{:?}", found.similarity);
    assert!(found.attention.predictor.is_empty());
    assert!(found.to_html("a model", "a text").unwrap().contains("The predictor has no blocks."));
}

#[test]
fn a_control_stands_beside_the_model() {
    let device = cpu();
    let model = contextlm(gpt2(), ContextConfig::default(), &device);
    let constant = ContextConfig { source: Source::Constant, ..ContextConfig::default() };
    let control = contextlm(gpt2(), constant, &device);
    let with = |control: &ContextLm| {
        context_report(&model, Some(control), &windows(LENGTH), options(), &device, &mut |_, _, _| ())
    };
    let found = with(&control).unwrap();
    let beside = found.control.as_ref().unwrap();
    let difference = beside.loss.all.mean - found.guided_loss.all.mean;
    assert!((beside.difference.all.mean - difference).abs() < 1e-9);
    let count = (WINDOWS * (LENGTH - 3)) as f64;
    let loss = (0..WINDOWS).map(|window| guided(&control, window, 4, None)).sum::<f64>() / count;
    assert!((beside.loss.all.mean - loss).abs() < 1e-4);
    assert!(found.to_html("a model", "a text").unwrap().contains("What the contexts have brought"));

    let error = with(&model).unwrap_err().to_string();
    assert!(error.contains("control = a model with source = predicted"), "{error}");
    let error = with(&plain()).unwrap_err().to_string();
    assert!(error.contains("control = a plain backbone"), "{error}");
}

#[test]
fn what_has_no_contexts_is_refused() {
    let device = cpu();
    let error = report(&plain(), LENGTH).unwrap_err().to_string();
    assert!(error.contains("the model is a plain backbone"), "{error}");
    let constant = ContextConfig { source: Source::Constant, ..ContextConfig::default() };
    let error = report(&contextlm(gpt2(), constant, &device), LENGTH).unwrap_err().to_string();
    assert!(error.contains("source = constant"), "{error}");
    let model = contextlm(gpt2(), ContextConfig { chunk_size: 7, ..ContextConfig::default() }, &device);
    let error = report(&model, LENGTH).unwrap_err().to_string();
    assert!(error.contains("window = 13: must be at least two chunks of 7"), "{error}");
    let wrong = Windows::new(&[Tokens::from(vec![23; 60])], 20, None, TextUnit::Windows).unwrap();
    let model = contextlm(gpt2(), ContextConfig::default(), &device);
    let error = context_report(&model, None, &wrong, options(), &device, &mut |_, _, _| ()).unwrap_err().to_string();
    assert!(error.contains("token 23"), "{error}");
    let long = Windows::new(&[Tokens::from(vec![1; 200])], 65, None, TextUnit::Windows).unwrap();
    let error = context_report(&model, None, &long, options(), &device, &mut |_, _, _| ()).unwrap_err().to_string();
    assert!(error.contains("window = 65: the model has 64 positions"), "{error}");
}

#[test]
fn a_report_is_one_page_that_needs_nothing_else() {
    for (fusion, initial_context) in
        FUSIONS.into_iter().zip([InitialContextKind::Learned, InitialContextKind::Zero].into_iter().cycle())
    {
        let model = contextlm(
            gpt2(),
            ContextConfig { fusion, initial_context, chunk_size: 3, ..ContextConfig::default() },
            &cpu(),
        );
        let found = report(&model, LENGTH).unwrap();
        let page = found.to_html("a <model>", "a & b").unwrap();
        assert!(page.contains("a &lt;model&gt;") && page.contains("a &amp; b"));
        assert!(page.contains("A swap shows reliance, not gain"), "{page}");
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("http") && !page.contains("NaN"));
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        // Rise, rise by place, cosines, probes; scale; two predictor blocks with two heads and their mean; one decoder block.
        assert_eq!(page.matches("<svg").count(), 4 + 1 + 6 + 1, "{fusion:?}");
        let shown = found.to_string();
        assert!(shown.contains("A swap shows reliance, not gain") && shown.contains("a distant window's"), "{shown}");
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["note"], "a swap shows reliance, not gain");
        assert_eq!(json["replaced"][2]["by"], "other_text");
        assert_eq!(json["probe"]["places"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn probes_are_seeded_and_need_texts() {
    let model = contextlm(gpt2(), ContextConfig::default(), &cpu());
    let (a, b) = (report(&model, LENGTH).unwrap(), report(&model, LENGTH).unwrap());
    assert_eq!(a, b);
    let other = ContextOptions { probe: ProbeOptions { seed: 1, ..options().probe }, ..options() };
    let c = context_report(&model, None, &windows(LENGTH), other, &cpu(), &mut |_, _, _| ()).unwrap();
    assert_ne!(a.probe, c.probe);
    // Two windows of 40 tokens cannot be split in three.
    assert!(report(&model, 40).unwrap().probe.is_none());
}
