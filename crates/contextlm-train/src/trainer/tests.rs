use super::*;
use burn::module::{ModuleVisitor, Param};
use burn::tensor::Tensor;
use contextlm_core::{AnyBackbone, BackboneConfig, ContextLmConfig, GptNeoXConfig, LatentLoss};
use contextlm_data::IGNORE_INDEX;

fn model() -> ContextLm<AnyBackbone> {
    let backbone = GptNeoXConfig {
        vocab_size: 23,
        max_position_embeddings: 32,
        hidden_size: 16,
        intermediate_size: 64,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        ..GptNeoXConfig::default()
    };
    let device = contextlm_device::device("cpu").unwrap().autodiff();
    ContextLmConfig::new(BackboneConfig::GptNeoX(backbone)).with_default_context().init_seeded(3, &device).unwrap()
}

/// Five packed rows of 17 tokens, some without a target, so that micro-batches differ in targets and in chunks.
fn batch() -> Batch {
    let (rows, length) = (5, 17);
    let inputs: Vec<i64> = (0..rows * length).map(|i| (i * i + 3 * i) as i64 % 23).collect();
    let targets = (0..rows * length).map(|i| if i % 7 < i / length { IGNORE_INDEX } else { (i * 5) as i64 % 23 });
    let documents = (0..rows).map(|row| if row < 2 { vec![0] } else { vec![0, row, 3 * row] }).collect();
    Batch { targets: targets.collect(), inputs, rows, length, documents: Some(documents) }
}

fn trainer(micro_batch: Option<usize>) -> Trainer<AnyBackbone> {
    let config = TrainConfig {
        steps: 6,
        warmup_steps: 2,
        micro_batch,
        latent_loss: LatentLoss::Mse,
        latent_weight: 0.5,
        ..TrainConfig::default()
    };
    Trainer::new(model(), config).unwrap()
}

/// Every gradient of a model as numbers, by its place in the model.
fn numbers(model: &ContextLm<AnyBackbone>, gradients: &GradientsParams) -> Vec<Vec<f32>> {
    struct Numbers<'a>(&'a GradientsParams, Vec<Vec<f32>>);
    impl ModuleVisitor for Numbers<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.0.get::<D>(param.id).map(|tensor| tensor.into_data().try_to_vec().unwrap());
            self.1.push(gradient.unwrap_or_default());
        }
    }
    let mut numbers = Numbers(gradients, Vec::new());
    model.visit(&mut numbers);
    numbers.1
}

#[test]
fn micro_batches_add_up_to_the_batch() {
    let whole = trainer(None);
    let batch = batch();
    let (loss, latent, gradients) = whole.gradients(&batch, batch.scored()).unwrap();
    let gradients = numbers(whole.model(), &gradients);
    assert!(gradients.iter().all(|gradient| gradient.iter().any(|x| *x != 0.0)), "every part learns");

    for rows in [1, 2, 4, 7] {
        let (in_parts, latent_in_parts, parts) = trainer(Some(rows)).gradients(&batch, batch.scored()).unwrap();
        let relative = |a: f64, b: f64| (a - b).abs() / b;
        assert!(relative(in_parts, loss) < 1e-6, "{rows} rows: {in_parts} and {loss}");
        assert!(relative(latent_in_parts.unwrap(), latent.unwrap()) < 1e-6);
        for (part, whole) in numbers(whole.model(), &parts).iter().zip(&gradients) {
            let squares = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| f64::from(x).powi(2)).sum::<f64>();
            let difference = squares(&mut part.iter().zip(whole).map(|(a, b)| a - b)).sqrt();
            assert!(difference <= 1e-5 * squares(&mut whole.iter().copied()).sqrt(), "{rows} rows: {difference}");
        }
    }
}

#[test]
fn a_stopped_run_goes_on_as_if_it_had_not_stopped() {
    let tokens: Vec<u32> = (0..400).map(|i| (i * i) % 23).collect();
    let batches = Batches::new(tokens.clone().into(), 16, 3, 1).unwrap();
    let valid = EvalBatches::new(tokens.into(), 16, 3).unwrap();
    let (mut metrics, progress) = (Metrics::none(), Progress::hidden());

    let whole = trainer(None).run(&batches, Some(&valid), &mut metrics, &progress).unwrap();
    let mut stopped = trainer(None);
    let mut parts = Run::default();
    for until in [2, 2, 5, 100] {
        let part = stopped.run_until(until, &batches, Some(&valid), &mut metrics, &progress).unwrap();
        parts.steps.extend(part.steps);
        parts.valid.extend(part.valid);
    }
    let numbers =
        |run: &Run| run.steps.iter().map(|s| (s.step, s.tokens, s.loss, s.lr, s.grad_norm)).collect::<Vec<_>>();
    assert_eq!(numbers(&parts), numbers(&whole));
    assert_eq!(parts.valid, whole.valid);
    assert_eq!((whole.steps.len(), whole.valid.len()), (6, 1));
}

#[test]
fn a_step_that_is_not_finite_changes_nothing() {
    let mut trainer = trainer(None);
    let loss = |trainer: &Trainer<_>| trainer.gradients(&batch(), 1).unwrap().0;
    let before = loss(&trainer);
    // This weight is infinite in f32.
    trainer.config.latent_weight = f64::MAX;
    let error = trainer.step(&batch()).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { step: 1, .. }), "{error}");
    assert_eq!((loss(&trainer), trainer.step), (before, 0));
}
