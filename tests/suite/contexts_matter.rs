//! A model is trained where contexts matter, and `eval context` sees that they do.

use contextlm_core::{BackboneConfig, ContextConfig, ContextLm, ContextLmConfig, Gpt2Config, Module, Source};
use contextlm_data::{Batches, Tokens};
use contextlm_eval::context::{ContextOptions, ContextReport, ProbeOptions, Replacement, context_report};
use contextlm_eval::{TextUnit, Windows};
use contextlm_tests::{cpu, tokens};
use contextlm_train::{Metrics, OptimizerConfig, Progress, TrainConfig, Trainer};

const LENGTH: usize = 32;
/// Kinds of chunks.
const KINDS: i64 = 16;

/// Chunks of two tokens, the first one noise. The second tells the kind of the chunk, which is 5 more than that of the chunk
/// before: a model that looks at single tokens cannot know it at the noise, but a prediction from the chunk before can.
fn text(documents: usize, seed: u64) -> Vec<u32> {
    let noise = tokens(1, documents * LENGTH / 2 + 1, 8, seed);
    let starts = tokens(1, documents, KINDS as usize, seed + 1);
    let chunk = |i: usize| {
        let (document, k) = (i / (LENGTH / 2), i % (LENGTH / 2));
        let kind = (starts.get(document).copied().unwrap_or(0) + 5 * k as i64) % KINDS;
        [noise[i] as u32, 8 + kind as u32]
    };
    (0..noise.len()).flat_map(chunk).take(documents * LENGTH + 1).collect()
}

/// One block, that of the encoder. It stays as it is drawn and hardly looks back, so that only contexts tell what came before.
fn untrained(source: Source) -> ContextLmConfig {
    let backbone = Gpt2Config {
        vocab_size: 8 + KINDS as usize,
        n_positions: LENGTH,
        n_embd: 32,
        n_layer: 1,
        n_head: 2,
        resid_pdrop: 0.0,
        embd_pdrop: 0.0,
        attn_pdrop: 0.0,
        ..Gpt2Config::default()
    };
    let context =
        ContextConfig { chunk_size: 2, encoder_layers: 1, predictor_layers: 1, source, ..ContextConfig::default() };
    ContextLmConfig::new(BackboneConfig::Gpt2(backbone)).with_context(context)
}

fn trained(source: Source) -> ContextLm {
    let model = untrained(source).init(&cpu().autodiff()).unwrap();
    let optimizer = OptimizerConfig { lr: 1e-2, ..OptimizerConfig::default() };
    let config =
        TrainConfig { steps: 60, optimizer, freeze: vec![r"transformer\.h\..*".into()], ..TrainConfig::default() };
    let mut trainer = Trainer::new(model, config).unwrap();
    let batches = Batches::new(text(400, 1), LENGTH, 16, 0).unwrap();
    trainer.run(&batches, None, &mut Metrics::none(), &Progress::hidden()).unwrap();
    trainer.model().valid()
}

fn report(model: &ContextLm, control: Option<&ContextLm>) -> ContextReport {
    let windows = Windows::new(&[Tokens::from(text(40, 9))], LENGTH, None, TextUnit::Windows).unwrap();
    let probe = ProbeOptions { samples: 600, classes: 24, steps: 100, seed: 0 };
    let options = ContextOptions { probe, ..ContextOptions::default() };
    context_report(model, control, &windows, options, &cpu(), &mut |_, _, _| ()).unwrap()
}

#[test]
fn reliance_gain_and_knowledge_are_seen() {
    let (model, control) = (trained(Source::Predicted), trained(Source::Constant));
    let found = report(&model, Some(&control));
    println!("{found}");
    let random = report(&untrained(Source::Predicted).init(&cpu()).unwrap(), None);
    println!("{random}");
    for (replaced, of_random) in found.replaced.iter().zip(&random.replaced) {
        let later = replaced.rise.later.unwrap();
        assert!(later.mean > 0.3 && later.mean > 5.0 * later.standard_error.unwrap(), "{replaced:?}");
        assert!(of_random.rise.all.mean.abs() < 0.05, "{of_random:?}");
    }
    assert_eq!(found.replaced[2].by, Replacement::OtherText);
    let gain = found.control.as_ref().unwrap().difference.later.unwrap();
    assert!(gain.mean > 0.1, "{gain:?}");
    let probe = found.probe.as_ref().unwrap();
    let kind = &probe.places[1];
    assert!(kind.context.nats.mean > 1.0 && kind.context.accuracy.mean > kind.majority.mean + 0.3, "{kind:?}");
    assert!(kind.added_by_context.mean > 3.0 * kind.added_by_context.standard_error.unwrap(), "{kind:?}");
    let of_random = &random.probe.as_ref().unwrap().places[1];
    assert!(of_random.added_by_context.mean < kind.added_by_context.mean);
}
