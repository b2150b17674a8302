use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use contextlm_core::{AnyBackbone, Device};
use contextlm_data::Batches;
use contextlm_train::{TrainConfig, Trainer};

use crate::{Answer, PeakMemory, Request, Sample, Work};

/// Different batches; then they come again.
const BATCHES: usize = 8;

/// A model in training.
pub(crate) struct Training {
    request: Request,
    trainer: Trainer<AnyBackbone>,
    batches: Batches,
    device: Device,
    tokens: u64,
    step: u64,
}

impl Training {
    pub(crate) fn new(request: &Request, device: &Device) -> Result<Self, Box<dyn Error>> {
        let Request::Training { config, rows, length, dtype, gradient_checkpointing, .. } = request else {
            return Err("no training".into());
        };
        let device = device.clone().autodiff();
        let device = if *gradient_checkpointing { device.gradient_checkpointing() } else { device };
        let model = config.init(&device)?;
        let vocabulary = contextlm_core::Backbone::spec(&model.backbone).vocabulary;
        let tokens: Arc<[u32]> = tokens(BATCHES * rows * length + 1, vocabulary).into();
        let batches = Batches::new(tokens, *length, *rows, 0)?;
        let training = TrainConfig { steps: 1 << 20, dtype: *dtype, ..TrainConfig::default() };
        let trainer = Trainer::new(model, training)?;
        Ok(Self { request: request.clone(), trainer, batches, device, tokens: (rows * length) as u64, step: 0 })
    }

    /// Whether another request wants the same model on the same batches.
    pub(crate) fn is_for(&self, request: &Request) -> bool {
        let of = |request: &Request| match request.clone() {
            Request::Training { config, rows, length, dtype, gradient_checkpointing, .. } => {
                Some((config, rows, length, dtype, gradient_checkpointing))
            }
            _ => None,
        };
        of(&self.request) == of(request)
    }

    pub(crate) fn measure(&mut self, steps: usize, warmup: usize) -> Result<Answer, Box<dyn Error>> {
        for _ in 0..warmup {
            self.step()?;
        }
        let memory = PeakMemory::begin();
        let samples = (0..steps).map(|_| self.step()).collect::<Result<_, _>>()?;
        let parameters = self.trainer.model().parameters().total as u64;
        Ok(Answer { samples, parameters, peak_bytes: memory.end(), program: None })
    }

    fn step(&mut self) -> Result<Sample, Box<dyn Error>> {
        let batch = self.batches.batch(self.step)?;
        self.step += 1;
        let clock = Instant::now();
        self.trainer.step(&batch)?;
        self.device.sync()?;
        Ok(Sample { work: Work::Training, seconds: clock.elapsed().as_secs_f64(), tokens: self.tokens })
    }
}

/// Tokens without a pattern that a model would see at once. How fast it computes does not depend on them.
pub(crate) fn tokens(count: usize, vocabulary: usize) -> Vec<u32> {
    (0..count as u64).map(|i| ((i * 7919 + i * i / 3) % vocabulary.max(1) as u64) as u32).collect()
}
