//! Trains one row after another on the same batches.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use contextlm_core::{ContextLm, Device, Module, Parameters};
use contextlm_data::{Batches, EvalBatches};
use contextlm_examples::Row;
use contextlm_train::plot::{Curve, loss_curves};
use contextlm_train::{Metrics, Progress, Run, ScheduleConfig, TrainConfig, Trainer, evaluate_with_swapped_contexts};

use crate::text::Text;

/// Sequences in a batch.
const ROWS: usize = 4;

/// Validations in a run, the last step's included.
const VALIDATIONS: usize = 5;

/// The batches that every row is trained on, and where everything goes.
pub struct Plan {
    batches: Batches,
    valid: EvalBatches,
    length: usize,
    seed: u64,
    device: Device,
    out: PathBuf,
}

/// A trained model and what was measured of it.
pub struct Trained {
    pub name: String,
    pub model: ContextLm,
    pub parameters: Parameters,
    /// Forward pass, a token.
    pub flops: u64,
    /// Nats of the whole validation text.
    pub nll: f64,
    pub valid_tokens: usize,
    /// Loss when every window is guided by the contexts of another.
    pub swapped_loss: Option<f64>,
    /// Median over the steps.
    pub tokens_per_second: f64,
    pub tokens_per_step: usize,
    pub run: Run,
}

impl Trained {
    /// Mean nats a token of the validation text.
    pub fn loss(&self) -> f64 {
        self.nll / self.valid_tokens as f64
    }
}

impl Plan {
    pub fn new(text: &Text, length: usize, seed: u64, device: &Device, out: &Path) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            batches: Batches::new(text.train.tokens.clone(), length, ROWS, seed)?,
            valid: EvalBatches::new(text.valid.tokens.clone(), length, ROWS)?,
            length,
            seed,
            device: device.clone(),
            out: out.into(),
        })
    }

    /// Steps that all rows can make in so many minutes, from the speed of a few steps of each.
    pub fn steps_in(&self, minutes: f64, rows: &[Row]) -> Result<usize, Box<dyn Error>> {
        const TIMED: usize = 3;
        eprintln!("timing {TIMED} steps of every model");
        let (mut step, mut fixed) = (0.0, 0.0);
        for row in rows {
            let mut trainer = self.trainer(row, TIMED)?;
            trainer.step(&self.batches.batch(0)?)?; // the first one allocates
            let clock = Instant::now();
            for position in 1..TIMED as u64 {
                trainer.step(&self.batches.batch(position)?)?;
            }
            step += clock.elapsed().as_secs_f64() / (TIMED - 1) as f64;
            // A validation costs about a third of a step a batch; there is one more with swapped contexts.
            let batches = self.valid.iter().count() as f64;
            fixed += (VALIDATIONS + 1) as f64 * batches * clock.elapsed().as_secs_f64() / (TIMED - 1) as f64 / 3.0;
        }
        let left = (minutes * 60.0 * 0.9 - fixed).max(0.0);
        Ok(((left / step) as usize).max(10))
    }

    pub fn train(&self, row: &Row, steps: usize) -> Result<Trained, Box<dyn Error>> {
        let mut trainer = self.trainer(row, steps)?;
        let parameters = trainer.model().parameters();
        let groups = trainer.decay_groups();
        println!(
            "{}: {} parameters; weight decay on {} tensors ({}), none on {} ({})",
            row.name, parameters.total, groups.decayed.0, groups.decayed.1, groups.not_decayed.0, groups.not_decayed.1
        );
        let mut metrics = Metrics::create(self.out.join(format!("{}.jsonl", row.name)))?;
        let progress = Progress::named(&row.name);
        let run = trainer.run(&self.batches, Some(&self.valid), &mut metrics, &progress)?;

        let model = trainer.model().valid();
        let last = run.valid.last().ok_or("the run has no validation")?.1;
        let swapped = evaluate_with_swapped_contexts(&model, &self.valid, &self.device)?;
        Ok(Trained {
            name: row.name.clone(),
            parameters,
            flops: model.flops_per_token(self.length).map_or(0, |flops| flops.total),
            nll: last.nll,
            valid_tokens: last.tokens,
            // A constant context is the same in every text.
            swapped_loss: swapped.filter(|_| predicts(&model)).map(|swapped| swapped.loss()),
            tokens_per_second: median(run.steps.iter().map(|step| step.tokens_per_second).collect()),
            tokens_per_step: ROWS * self.length,
            model,
            run,
        })
    }

    /// Draws the curves of all rows.
    pub fn draw(&self, trained: &[Trained]) -> Result<PathBuf, Box<dyn Error>> {
        let curves: Vec<_> = trained.iter().map(|row| Curve { name: &row.name, run: &row.run }).collect();
        let file = self.out.join("curves.svg");
        loss_curves(&file, "validation (points) and training loss (thin)", &curves)?;
        Ok(file)
    }

    fn trainer(&self, row: &Row, steps: usize) -> Result<Trainer<contextlm_core::AnyBackbone>, Box<dyn Error>> {
        let model = row.config.init_seeded(self.seed, &self.device.clone().autodiff())?;
        let config = TrainConfig {
            steps,
            schedule: ScheduleConfig { warmup_steps: Some((steps / 10).min(50)), ..ScheduleConfig::default() },
            eval_every: steps.div_ceil(VALIDATIONS),
            ..TrainConfig::default()
        };
        Ok(Trainer::new(model, config)?)
    }
}

/// Whether the model has a predictor.
fn predicts(model: &ContextLm) -> bool {
    model.context.as_ref().is_some_and(|context| context.predictor.is_some())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
