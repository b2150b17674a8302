use std::error::Error;
use std::time::Instant;

use contextlm_core::{Backbone, ContextLm, Device};
use contextlm_generate::{GenerateOptions, Generator};

use crate::training::tokens;
use crate::{Answer, PeakMemory, Request, Sample, Work};

/// A model that generates.
pub(crate) struct Generation {
    request: Request,
    model: ContextLm,
    device: Device,
    prompts: Vec<Vec<u32>>,
}

impl Generation {
    pub(crate) fn new(request: &Request, device: &Device) -> Result<Self, Box<dyn Error>> {
        let Request::Generation { config, rows, length, int8, .. } = request else {
            return Err("no generation".into());
        };
        let mut model = config.init(device)?;
        if *int8 {
            model = model.quantize_int8()?;
        }
        let vocabulary = model.backbone.spec().vocabulary;
        let prompts = tokens(rows * length, vocabulary).chunks(*length).map(<[u32]>::to_vec).collect();
        Ok(Self { request: request.clone(), model, device: device.clone(), prompts })
    }

    /// Whether another request wants the same model and prompts.
    pub(crate) fn is_for(&self, request: &Request) -> bool {
        let of = |request: &Request| match request.clone() {
            Request::Generation { config, rows, length, int8, .. } => Some((config, rows, length, int8)),
            _ => None,
        };
        of(&self.request) == of(request)
    }

    pub(crate) fn measure(&self, new_tokens: usize) -> Result<Answer, Box<dyn Error>> {
        let memory = PeakMemory::begin();
        let prompts: Vec<&[u32]> = self.prompts.iter().map(Vec::as_slice).collect();
        let options = GenerateOptions { max_new_tokens: new_tokens, ..GenerateOptions::default() };
        let mut generator =
            Generator::new(&self.model, &prompts, options, |_: &[u32]| Ok(String::new()), &self.device)?;
        let clock = Instant::now();
        generator.step()?;
        let prefill = clock.elapsed().as_secs_f64();
        let mut steps = 0;
        while generator.step()? {
            steps += 1;
        }
        let decode = clock.elapsed().as_secs_f64() - prefill;
        let rows = self.prompts.len() as u64;
        let prompt_tokens = self.prompts.iter().map(|prompt| prompt.len() as u64).sum();
        let mut samples = vec![Sample { work: Work::Prefill, seconds: prefill, tokens: prompt_tokens }];
        if steps > 0 {
            samples.push(Sample { work: Work::Decode, seconds: decode / f64::from(steps), tokens: rows });
        }
        let parameters = self.model.parameters().total as u64;
        Ok(Answer { samples, parameters, peak_bytes: memory.end(), program: None })
    }
}
