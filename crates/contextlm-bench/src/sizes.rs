use contextlm_core::{BackboneConfig, ContextLmConfig, Device, Gpt2Config};
use serde::Serialize;

use crate::bench::same_model;
use crate::rounds::{alternate, median, ratio, seconds};
use crate::{Bench, BenchError, Group, Programs, Side, Work};

/// A row of the table of sizes: a GPT-2 of four layers with heads of 64.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Size {
    /// Tokens of a sequence.
    pub length: usize,
    /// Width, D.
    pub width: usize,
    /// Vocabulary, V.
    pub vocabulary: usize,
    /// Seconds of a training step, of a prompt of `length` tokens, and of a token after it.
    pub seconds: [f64; 3],
    /// Arithmetic a second of the training step, nanoGPT's count.
    pub training_flops_per_second: f64,
    /// The peer's seconds over these, if there is a peer.
    pub speed_over_peer: Option<[f64; 3]>,
}

const LAYERS: usize = 4;
const MIDDLE: (usize, usize, usize) = (256, 512, 8192);

/// Length, width and vocabulary, one of them at a time away from the middle.
pub fn sizes() -> Vec<(usize, usize, usize)> {
    let (length, width, vocabulary) = MIDDLE;
    let lengths = [4, 16, 64, 256, 1024, 2048].map(|length| (length, width, vocabulary));
    let widths = [256, 768, 1024].map(|width| (length, width, vocabulary));
    let vocabularies = [1000, 32000, 50257].map(|vocabulary| (length, width, vocabulary));
    lengths.into_iter().chain(widths).chain(vocabularies).collect()
}

impl Bench {
    /// The plain model at one size after another; the model of this bench is not looked at.
    ///
    /// # Errors
    /// [`BenchError`].
    pub fn sizes(
        &self,
        sizes: &[(usize, usize, usize)],
        programs: &Programs<'_>,
        device: &Device,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Vec<Size>, BenchError> {
        self.validate()?;
        let mut ours = Side::start("plain", (programs.ours)())?;
        let mut peer = programs.peer.map(|(name, start)| Side::start(name, start())).transpose()?;
        let mut rows = Vec::new();
        for &(length, width, vocabulary) in sizes {
            let config = gpt2(length + self.new_tokens, width, vocabulary);
            let bench = Self { config: config.clone(), length, ..self.clone() };
            let (mut own, mut of_peer) = (Vec::new(), Vec::new());
            for group in [Group::Training, Group::Generation] {
                let request = bench.request(group, &config);
                let mut turns: Vec<(&mut Side, _)> = peer.iter_mut().map(|side| (side, request.clone())).collect();
                turns.push((&mut ours, request));
                alternate(&mut turns, 1, || ())?;
                let mut answers = alternate(&mut turns, self.rounds, || ())?;
                let peers = (answers.len() > 1).then(|| answers.remove(0));
                same_model(&answers[0], peers.as_deref())?;
                of_peer.extend(peers.unwrap_or_default());
                own.extend(answers.remove(0));
            }
            let of = |answers, work| seconds(answers, work);
            let works = [Work::Training, Work::Prefill, Work::Decode];
            let seconds = works.map(|work| median(of(&own, work)));
            let model = config.init(device).map_err(|error| BenchError::setting("size", width, error.to_string()))?;
            let flops = model.flops_per_token(length).map_or(0, |flops| 3 * flops.total * (self.rows * length) as u64);
            rows.push(Size {
                length,
                width,
                vocabulary,
                seconds,
                training_flops_per_second: flops as f64 / seconds[0],
                speed_over_peer: peer.is_some().then(|| works.map(|work| ratio(&of(&of_peer, work), &of(&own, work)))),
            });
            progress(rows.len(), sizes.len());
        }
        Ok(rows)
    }
}

fn gpt2(positions: usize, width: usize, vocabulary: usize) -> ContextLmConfig {
    ContextLmConfig::new(BackboneConfig::Gpt2(Gpt2Config {
        vocab_size: vocabulary,
        n_positions: positions,
        n_embd: width,
        n_layer: LAYERS,
        n_head: width / 64,
        resid_pdrop: 0.0,
        embd_pdrop: 0.0,
        attn_pdrop: 0.0,
        ..Gpt2Config::default()
    }))
}
