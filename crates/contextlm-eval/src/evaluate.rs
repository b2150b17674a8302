use std::path::Path;

use contextlm_core::{Backbone, ContextLm, Device};
use rayon::prelude::*;

use crate::answers::{Answer, Answers};
use crate::score::{Likelihood, Request, RequestScorer};
use crate::task::{Asked, Question, Task, TaskData};
use crate::{Cache, Encoder, EvalError};

/// How tasks are run.
#[derive(Debug, Clone)]
pub struct EvaluateOptions {
    /// Tokens of a batch, the longest input for every request. Results do not depend on it, but for rounding.
    pub batch_tokens: usize,
    /// Largest number of input tokens; the model's positions if not given.
    pub window: Option<usize>,
    /// Whether an input that is longer is an error, instead of losing its first tokens.
    pub refuse_long: bool,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self { batch_tokens: 4096, window: None, refuse_long: false }
    }
}

/// The requests of a question, and where they belong.
struct Asking {
    task: usize,
    question: usize,
    /// Groups that are scored; a text has one for each window.
    groups: Vec<Vec<Request>>,
    /// Requests that are cut on the left.
    truncated: usize,
}

/// What a model answers to tasks. `device` is the model's. `progress` is called with the requests that are scored and
/// with all of them, and ends the run by giving false.
///
/// # Errors
/// [`EvalError::Example`] with file and line for what cannot be asked, [`EvalError::Interrupted`], [`EvalError::File`] of
/// the cache, and those of [`RequestScorer`].
pub fn evaluate<B: Backbone>(
    model: &ContextLm<B>,
    encoder: &Encoder,
    tasks: &[(Task, TaskData)],
    options: &EvaluateOptions,
    cache: Option<&mut Cache>,
    device: &Device,
    progress: impl FnMut(usize, usize) -> bool,
) -> Result<Vec<Answers>, EvalError> {
    let window = options.window.unwrap_or_else(|| model.backbone.spec().max_positions);
    let scorer = RequestScorer::new(model, window, device)?;
    let mut askings = ask_all(tasks, encoder, window, options.refuse_long)?;
    let counts: Vec<usize> = askings.iter().map(|asking| asking.groups.len()).collect();
    let groups = askings.iter_mut().flat_map(|asking| std::mem::take(&mut asking.groups)).collect();
    let mut likelihoods = score_all(&scorer, groups, options.batch_tokens, cache, progress)?.into_iter();

    let mut answers: Vec<Answers> = tasks.iter().map(|(task, data)| Answers::new(task, data)).collect();
    for (asking, count) in askings.into_iter().zip(counts) {
        let (task, data) = &tasks[asking.task];
        let likelihoods = likelihoods.by_ref().take(count).flatten().collect();
        let answer = Answer::new(task, &data.questions[asking.question], likelihoods, asking.truncated);
        answers[asking.task].answers.push(answer);
    }
    Ok(answers)
}

/// The likelihoods of every group, from the cache or computed.
fn score_all<B: Backbone>(
    scorer: &RequestScorer<'_, B>,
    groups: Vec<Vec<Request>>,
    batch_tokens: usize,
    mut cache: Option<&mut Cache>,
    mut progress: impl FnMut(usize, usize) -> bool,
) -> Result<Vec<Vec<Likelihood>>, EvalError> {
    let (all, kept, mut done) = (groups.iter().map(Vec::len).sum(), cache.is_some(), 0);
    let mut found: Vec<Vec<Likelihood>> = Vec::with_capacity(groups.len());
    let (mut open, mut numbers) = (Vec::new(), Vec::new());
    for (number, group) in groups.into_iter().enumerate() {
        let known = cache.as_ref().and_then(|cache| cache.get(&group));
        match known.is_some() {
            true => done += group.len(),
            false => {
                open.push(group);
                numbers.push(number);
            }
        }
        found.push(known.unwrap_or_default());
    }
    for batch in scorer.batches(&open, batch_tokens) {
        if !progress(done, all) {
            return Err(EvalError::Interrupted { done, all, kept });
        }
        for (group, likelihoods) in scorer.run(&batch)? {
            if let Some(cache) = &mut cache {
                cache.put(&open[group], &likelihoods)?;
            }
            found[numbers[group]] = likelihoods;
        }
        if let Some(cache) = &mut cache {
            cache.flush()?;
        }
        done += batch.requests();
    }
    progress(done, all);
    Ok(found)
}

fn ask_all(
    tasks: &[(Task, TaskData)],
    encoder: &Encoder,
    window: usize,
    refuse_long: bool,
) -> Result<Vec<Asking>, EvalError> {
    let mut askings = Vec::new();
    for (number, (_, data)) in tasks.iter().enumerate() {
        let of_question = |(question, asked): (usize, &Question)| {
            let groups = requests(asked, encoder, window)?;
            let truncated = groups.iter().flatten().filter(|request| request.dropped(window) > 0).count();
            check(&groups, &data.path, asked, window, refuse_long)?;
            Ok::<_, EvalError>(Asking { task: number, question, groups, truncated })
        };
        askings.append(&mut data.questions.par_iter().enumerate().map(of_question).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(askings)
}

fn requests(question: &Question, encoder: &Encoder, window: usize) -> Result<Vec<Vec<Request>>, EvalError> {
    Ok(match &question.asked {
        Asked::Choice { choices, .. } => {
            let pair = |choice: &crate::task::Choice| encoder.pair(&choice.context, &choice.continuation);
            vec![choices.iter().map(pair).collect::<Result<_, _>>()?]
        }
        Asked::Completion { context, completion } => vec![vec![encoder.pair(context, completion)?]],
        Asked::Text { text, .. } => encoder.rolling(text, window)?.into_iter().map(|request| vec![request]).collect(),
    })
}

fn check(
    groups: &[Vec<Request>],
    path: &Path,
    question: &Question,
    window: usize,
    refuse_long: bool,
) -> Result<(), EvalError> {
    let error = |reason| Err(EvalError::example(path, question.line, reason));
    for (number, request) in groups.iter().flatten().enumerate() {
        let (context, continuation) = (request.context.len(), request.continuation.len());
        if continuation == 0 {
            return error(format!(
                "choice {number} has no tokens of its own: this tokenizer merges it into its context"
            ));
        }
        if continuation > window {
            let fix = "split it, or use a model of more positions";
            return error(format!("choice {number} has {continuation} tokens, the window {window}: {fix}"));
        }
        if refuse_long && request.dropped(window) > 0 {
            let fix = "allow it to be cut, or use a model of more positions";
            let reason = format!("{} inputs, the window is {window}: {fix}", context + continuation - 1);
            return error(format!("context {number} is too long: {reason}"));
        }
    }
    Ok(())
}
