use super::*;
use crate::{LossConfig, ScheduleConfig};
use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use contextlm_core::{AnyBackbone, BackboneConfig, ContextLmConfig, GptNeoXConfig, LatentLoss};
use contextlm_data::IGNORE_INDEX;

fn backbone() -> GptNeoXConfig {
    GptNeoXConfig {
        vocab_size: 23,
        max_position_embeddings: 32,
        hidden_size: 16,
        intermediate_size: 64,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        ..GptNeoXConfig::default()
    }
}

fn model() -> ContextLm<AnyBackbone> {
    let device = contextlm_device::device("cpu").unwrap().autodiff();
    ContextLmConfig::new(BackboneConfig::GptNeoX(backbone())).with_default_context().init_seeded(3, &device).unwrap()
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
        micro_batch,
        schedule: ScheduleConfig { warmup_steps: Some(2), ..ScheduleConfig::default() },
        loss: LossConfig { latent_loss: LatentLoss::Mse, latent_weight: 0.5, z_loss: 1e-3 },
        ..TrainConfig::default()
    };
    Trainer::new(model(), config).unwrap()
}

/// Every parameter of a model as numbers.
fn values(model: &ContextLm<AnyBackbone>) -> Vec<Vec<f32>> {
    struct Values(Vec<Vec<f32>>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().into_data().try_to_vec().unwrap());
        }
    }
    let mut values = Values(Vec::new());
    model.visit(&mut values);
    values.0
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
    let (loss, latent, gradients) = whole.gradients(&batch, batch.scored()).unwrap().read();
    let gradients = numbers(whole.model(), &gradients);
    assert!(gradients.iter().all(|gradient| gradient.iter().any(|x| *x != 0.0)), "every part learns");

    for rows in [1, 2, 4, 7] {
        let (in_parts, latent_in_parts, parts) = trainer(Some(rows)).gradients(&batch, batch.scored()).unwrap().read();
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

/// Cheap operations are computed again in the backward pass; what comes out is the same.
#[test]
fn gradient_checkpointing_gives_the_same_gradients() {
    let device = contextlm_device::device("cpu").unwrap().autodiff().gradient_checkpointing();
    let config = ContextLmConfig::new(BackboneConfig::GptNeoX(backbone())).with_default_context();
    let checkpointed =
        Trainer::new(config.init_seeded(3, &device).unwrap(), trainer(Some(2)).config().clone()).unwrap();
    let (batch, plain) = (batch(), trainer(Some(2)));
    let (loss, latent, expected) = plain.gradients(&batch, batch.scored()).unwrap().read();
    let (again, latent_again, found) = checkpointed.gradients(&batch, batch.scored()).unwrap().read();
    assert!(again == loss && latent_again == latent);
    assert!(numbers(checkpointed.model(), &found) == numbers(plain.model(), &expected));
    // And so do the steps after an update, whose parameters are new tensors.
    let (mut plain, mut checkpointed) = (plain, checkpointed);
    for _ in 0..3 {
        let (a, b) = (plain.step(&batch).unwrap(), checkpointed.step(&batch).unwrap());
        assert!((a.loss, a.grad_norm) == (b.loss, b.grad_norm));
    }
    assert!(values(plain.model()) == values(checkpointed.model()));
}

#[test]
fn a_stopped_run_goes_on_as_if_it_had_not_stopped() {
    let tokens: Vec<u32> = (0..400).map(|i| (i * i) % 23).collect();
    let batches = Batches::new(tokens.clone(), 16, 3, 1).unwrap();
    let valid = EvalBatches::new(tokens, 16, 3).unwrap();
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
fn a_step_that_is_not_finite_is_skipped_and_many_end_the_run() {
    let mut trainer = trainer(None);
    trainer.config.guard.max_skipped = 3;
    let loss = |trainer: &Trainer<_>| trainer.gradients(&batch(), 1).unwrap().read().0;
    let before = loss(&trainer);
    // This weight is infinite in f32.
    let good = std::mem::replace(&mut trainer.config.loss.latent_weight, f64::MAX);
    for step in 1..=2 {
        let skipped = trainer.step(&batch()).unwrap();
        assert!(skipped.skipped && skipped.step == step && skipped.tokens == (step * batch().scored()) as u64);
    }
    assert_eq!(loss(&trainer), before, "the parameters are the same");
    let error = trainer.step(&batch()).unwrap_err();
    assert!(matches!(error, TrainError::Skipped { step: 3, count: 3, .. }), "{error}");

    trainer.config.loss.latent_weight = good;
    assert!(!trainer.step(&batch()).unwrap().skipped);
    let progress = trainer.progress();
    assert_eq!((progress.step, progress.skipped, progress.skipped_in_a_row), (4, 3, 0));
    assert_ne!(loss(&trainer), before);
}

#[test]
fn a_spike_is_skipped() {
    let mut trainer = trainer(None);
    let loss = trainer.step(&batch()).unwrap().loss;
    trainer.config.guard.max_spike = 0.5;
    assert!(!trainer.step(&batch()).unwrap().skipped);
    let low = Some(loss as f32 - 2.0);
    trainer.progress.smoothed_loss = low;
    assert!(trainer.step(&batch()).unwrap().skipped);
    assert_eq!(trainer.progress.smoothed_loss, low, "a spike does not count to the mean");
    trainer.config.guard.max_spike = 0.0;
    assert!(!trainer.step(&batch()).unwrap().skipped);
}

#[test]
fn frozen_parts_stay_and_the_others_learn() {
    let config =
        TrainConfig { freeze: vec!["gpt_neox\\..*".into(), "embed_out.weight".into()], ..TrainConfig::default() };
    let mut trainer = Trainer::new(model(), config.clone()).unwrap();
    let tensors = trainer.model().tensors();
    let before = values(trainer.model());
    for _ in 0..2 {
        trainer.step(&batch()).unwrap();
    }
    for ((tensor, before), after) in tensors.iter().zip(before).zip(values(trainer.model())) {
        assert_eq!(before == after, !tensor.name.name.starts_with("context."), "{}", tensor.path);
    }
    let groups = trainer.decay_groups();
    let trained = tensors.iter().filter(|tensor| tensor.name.name.starts_with("context.")).count();
    assert_eq!(groups.decayed.0 + groups.not_decayed.0, trained);

    for (pattern, message) in
        [("transformer.*", "matches no parameter"), ("(", "no regular expression"), (".*", "takes every parameter")]
    {
        let config = TrainConfig { freeze: vec![pattern.into()], ..config.clone() };
        let error = Trainer::new(model(), config).err().unwrap().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn seeds_of_dropout_differ_by_every_part() {
    let seeds = [(0, 0, 0, 0), (0, 0, 2, 0), (0, 1, 0, 0), (1, 0, 0, 0), (0, 2, 1, 0), (0, 1, 2, 0), (0, 0, 0, 1)];
    let mixed: std::collections::BTreeSet<_> = seeds.iter().map(|&(a, b, c, d)| dropout_seed(a, b, c, d)).collect();
    assert_eq!(mixed.len(), seeds.len());
}

/// Where the numbers of every parameter are in memory. Taking them out moves those that have no other holder.
fn places(trainer: &mut Trainer<AnyBackbone>) -> Vec<usize> {
    struct Places(Vec<usize>, Device);
    impl ModuleMapper for Places {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = param.consume();
            let data = tensor.inner().into_data();
            self.0.push(data.as_bytes().as_ptr() as usize);
            let tensor = Tensor::from_inner(Tensor::from_data(data, &self.1));
            Param::from_mapped_value(id, tensor.require_grad(), mapper)
        }
    }
    let mut places = Places(Vec::new(), trainer.device.clone().inner());
    trainer.model = trainer.model.take().map(|model| model.map(&mut places));
    places.0
}

#[test]
fn parameters_are_updated_in_their_place() {
    let mut trainer = trainer(None);
    trainer.step(&batch()).unwrap(); // burn makes the optimizer's state in the first step
    let before = (places(&mut trainer), values(trainer.model()));
    trainer.step(&batch()).unwrap();
    let after = (places(&mut trainer), values(trainer.model()));
    assert_eq!(before.0, after.0);
    assert!(before.1 != after.1);
}
