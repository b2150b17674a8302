use std::path::PathBuf;
use std::process::Command;

use contextlm_core::{ContextLmConfig, Device};
use contextlm_train::TrainDtype;
use contextlm_weights::SaveOptions;

use crate::line::{Line, lines};
use crate::reading::{bytes_a_token, memory_rate};
use crate::rounds::alternate;
use crate::{Answer, BenchError, Model, Request, Side, Work, models, texts};

/// A group of work that one process measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Training steps.
    Training,
    /// Prefill and decode.
    Generation,
    /// Loading a model directory.
    Loading,
    /// Making token shards.
    Tokenising,
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct Bench {
    /// The model; with the default context settings if it has none.
    pub config: ContextLmConfig,
    /// Sequences of a batch, B.
    pub rows: usize,
    /// Tokens of a sequence in training, and of a prompt, T.
    pub length: usize,
    /// Tokens after a prompt.
    pub new_tokens: usize,
    /// Training steps in a round.
    pub steps: usize,
    /// Training steps before the timed ones of a round.
    pub warmup: usize,
    /// Whether our training computes again what is cheap to compute, instead of keeping it.
    pub gradient_checkpointing: bool,
    /// Threads that read memory where its speed is measured, for the floor of decode; `None` where the weights are on a GPU.
    pub memory_threads: Option<usize>,
    /// Whether our weights are of 8 bits in generation.
    pub int8: bool,
    /// Turns of each side.
    pub rounds: usize,
    /// Type of the matrix products in training.
    pub dtype: TrainDtype,
    /// A model directory to load; without it, fresh ones are written to a temporary folder.
    pub directory: Option<PathBuf>,
    /// `tokenizer.json`, and files and folders of text, to make token shards of.
    pub texts: Option<(PathBuf, Vec<PathBuf>)>,
}

/// How the processes are started: ours answers with [`answer_requests`](crate::answer_requests), and the peer, if there is
/// one, answers the same lines.
pub struct Programs<'a> {
    /// Our side.
    pub ours: &'a dyn Fn() -> Command,
    /// Its name, and how it is started.
    pub peer: Option<(&'a str, &'a dyn Fn() -> Command)>,
}

impl Programs<'_> {
    fn peer(&self) -> Result<Option<Side>, BenchError> {
        self.peer.map(|(name, start)| Side::start(name, start())).transpose()
    }
}

impl Bench {
    /// Measures a group of work. `device` is for writing fresh models, and for counting their weights; `progress` is told turns done and turns in all.
    ///
    /// # Errors
    /// [`BenchError`].
    pub fn run(
        &self,
        group: Group,
        programs: &Programs<'_>,
        device: &Device,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Vec<Line>, BenchError> {
        self.validate()?;
        let mut done = 0;
        match group {
            Group::Training | Group::Generation => self.compute(group, programs, device, |turns| {
                done += 1;
                progress(done, turns);
            }),
            Group::Loading => self.load(programs, device, |turns| {
                done += 1;
                progress(done, turns);
            }),
            Group::Tokenising => self.tokenise(programs, |turns| {
                done += 1;
                progress(done, turns);
            }),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), BenchError> {
        for (key, value) in [
            ("--rows", self.rows),
            ("--length", self.length),
            ("--new-tokens", self.new_tokens),
            ("--steps", self.steps),
            ("--rounds", self.rounds),
        ] {
            if value == 0 {
                return Err(BenchError::setting(key, value, "must be at least 1"));
            }
        }
        Ok(())
    }

    pub(crate) fn request(&self, group: Group, config: &ContextLmConfig) -> Request {
        let (config, rows, length) = (Box::new(config.clone()), self.rows, self.length);
        match group {
            Group::Training => {
                let Self { steps, warmup, dtype, gradient_checkpointing, .. } = *self;
                Request::Training { config, rows, length, steps, warmup, dtype, gradient_checkpointing }
            }
            _ => Request::Generation { config, rows, length, new_tokens: self.new_tokens, int8: self.int8 },
        }
    }

    /// Training or generation: the peer and our three models in turn, each in a process of its own.
    fn compute(
        &self,
        group: Group,
        programs: &Programs<'_>,
        device: &Device,
        mut done: impl FnMut(usize),
    ) -> Result<Vec<Line>, BenchError> {
        let models = models(&self.config);
        let mut peer = programs.peer()?;
        let mut sides =
            models.iter().map(|model| Side::start(&model.name, (programs.ours)())).collect::<Result<Vec<_>, _>>()?;
        let plain = self.request(group, &models[0].config);
        let mut turns: Vec<(&mut Side, Request)> = peer.iter_mut().map(|side| (side, plain.clone())).collect();
        turns.extend(sides.iter_mut().zip(&models).map(|(side, model)| (side, self.request(group, &model.config))));
        // Building a model, and the first pass over its memory, are no part of any round.
        let all = turns.len() * (self.rounds + 1);
        alternate(&mut turns, 1, || done(all))?;
        let mut answers = alternate(&mut turns, self.rounds, || done(all))?;
        let of_peer = peer.is_some().then(|| answers.remove(0));
        same_model(&answers[0], of_peer.as_deref())?;
        let named = models.iter().map(|model| model.name.as_str()).zip(&answers).collect::<Vec<_>>();
        let mut lines = lines(&named, of_peer.as_deref(), Some(&self.config));
        drop(sides);
        if group == Group::Generation {
            self.set_floors(&mut lines, &models, device);
        }
        Ok(lines)
    }

    /// What a token takes at least: every weight read once at the speed of the memory. With many rows arithmetic counts too.
    fn set_floors(&self, lines: &mut [Line], models: &[Model], device: &Device) {
        let Some(rate) = self.memory_threads.map(memory_rate) else { return };
        for line in lines.iter_mut().filter(|line| line.work == Work::Decode) {
            let model = models.iter().find(|model| model.name == line.model);
            let bytes = model.and_then(|model| bytes_a_token(&model.config, self.int8, device));
            line.floor_seconds = bytes.map(|bytes| bytes / rate);
        }
    }

    /// Loading: a new process for every turn, since memory that a process has had before costs it less.
    fn load(
        &self,
        programs: &Programs<'_>,
        device: &Device,
        mut done: impl FnMut(usize),
    ) -> Result<Vec<Line>, BenchError> {
        let scratch =
            tempfile::tempdir().map_err(|source| BenchError::Io { what: "temporary folder".into(), source })?;
        let folders = match &self.directory {
            Some(dir) => vec![("model".to_string(), dir.clone())],
            None => self.written(&scratch, device)?,
        };
        let mut answers = vec![Vec::new(); folders.len()];
        let mut of_peer = Vec::new();
        // The first round fills the page cache.
        let all = (self.rounds + 1) * (folders.len() + usize::from(programs.peer.is_some()));
        for round in 0..=self.rounds {
            let mut once = |side: Side, dir: &PathBuf| -> Result<Option<Answer>, BenchError> {
                let mut side = side;
                let answer = side.ask(&Request::Loading { dir: dir.clone() })?;
                done(all);
                Ok((round > 0).then_some(answer))
            };
            if let Some(peer) = programs.peer()? {
                of_peer.extend(once(peer, &folders[0].1)?);
            }
            for ((name, dir), answers) in folders.iter().zip(&mut answers) {
                answers.extend(once(Side::start(name, (programs.ours)())?, dir)?);
            }
        }
        let of_peer = programs.peer.is_some().then_some(of_peer);
        same_model(&answers[0], of_peer.as_deref())?;
        let named = folders.iter().map(|(name, _)| name.as_str()).zip(&answers).collect::<Vec<_>>();
        Ok(lines(&named, of_peer.as_deref(), None))
    }

    /// Fresh models in f32, the plain one and ContextLM.
    fn written(&self, scratch: &tempfile::TempDir, device: &Device) -> Result<Vec<(String, PathBuf)>, BenchError> {
        let [plain, _, context] = models(&self.config);
        let write = |(number, Model { name, config }): (usize, Model)| {
            let failed = |reason: String| BenchError::Failed { side: name.clone(), reason };
            let dir = scratch.path().join(number.to_string());
            let model = config.init(device).map_err(|error| failed(error.to_string()))?;
            contextlm_weights::save(&model, &config, &dir, &SaveOptions::default())
                .map_err(|error| failed(error.to_string()))?;
            Ok((name, dir))
        };
        [plain, context].into_iter().enumerate().map(write).collect()
    }

    fn tokenise(&self, programs: &Programs<'_>, mut done: impl FnMut(usize)) -> Result<Vec<Line>, BenchError> {
        let (tokenizer, inputs) =
            self.texts.as_ref().ok_or_else(|| BenchError::setting("--text", "none", "name files of text"))?;
        let file = texts::one_file(inputs)?;
        let request = Request::Tokenising { tokenizer: tokenizer.clone(), text: file.path().into() };
        let mut peer = programs.peer()?;
        let mut ours = Side::start("prepare", (programs.ours)())?;
        let mut turns: Vec<(&mut Side, Request)> = peer.iter_mut().map(|side| (side, request.clone())).collect();
        turns.push((&mut ours, request));
        let all = turns.len() * self.rounds;
        let mut answers = alternate(&mut turns, self.rounds, || done(all))?;
        let of_peer = peer.is_some().then(|| answers.remove(0));
        Ok(lines(&[("prepare", &answers[0])], of_peer.as_deref(), None))
    }
}

/// The peer must have built what our plain model is.
pub(crate) fn same_model(ours: &[Answer], peer: Option<&[Answer]>) -> Result<(), BenchError> {
    let parameters = |answers: &[Answer]| answers.first().map_or(0, |answer| answer.parameters);
    match peer.map(parameters) {
        Some(peer) if peer != parameters(ours) => Err(BenchError::Models { ours: parameters(ours), peer }),
        _ => Ok(()),
    }
}
