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
    /// Tokens of a batch, filling included. Results do not depend on it, but for rounding.
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
    mut cache: Option<&mut Cache>,
    device: &Device,
    mut progress: impl FnMut(usize, usize) -> bool,
) -> Result<Vec<Answers>, EvalError> {
    let window = options.window.unwrap_or_else(|| model.backbone.spec().max_positions);
    let scorer = RequestScorer::new(model, window, device)?;
    let askings = ask_all(tasks, encoder, window, options.refuse_long)?;
    let mut answers: Vec<Answers> = tasks.iter().map(|(task, data)| Answers::new(task, data)).collect();

    let all = askings.iter().flat_map(|asking| &asking.groups).map(Vec::len).sum();
    let (mut open, mut places, mut done) = (Vec::new(), Vec::new(), 0);
    let mut found: Vec<Vec<Vec<Likelihood>>> =
        askings.iter().map(|asking| vec![Vec::new(); asking.groups.len()]).collect();
    let known = |cache: &Option<&mut Cache>, group: &Vec<Request>| cache.as_ref().and_then(|cache| cache.get(group));
    let mut shapes = Vec::new();
    for (number, asking) in askings.into_iter().enumerate() {
        shapes.push((asking.task, asking.question, asking.truncated));
        for (part, group) in asking.groups.into_iter().enumerate() {
            match known(&cache, &group) {
                Some(likelihoods) => {
                    done += group.len();
                    found[number][part] = likelihoods;
                }
                None => {
                    open.push(group);
                    places.push((number, part));
                }
            }
        }
    }

    let kept = cache.is_some();
    for batch in scorer.batches(&open, options.batch_tokens) {
        if !progress(done, all) {
            return Err(EvalError::Interrupted { done, all, kept });
        }
        for (group, likelihoods) in scorer.run(&batch)? {
            if let Some(cache) = &mut cache {
                cache.put(&open[group], &likelihoods)?;
            }
            let (number, part) = places[group];
            found[number][part] = likelihoods;
        }
        if let Some(cache) = &mut cache {
            cache.flush()?;
        }
        done += batch.requests();
    }
    progress(done, all);

    for ((task, question, truncated), likelihoods) in shapes.into_iter().zip(found) {
        let (settings, data) = &tasks[task];
        let answer = Answer::new(settings, &data.questions[question], likelihoods.concat(), truncated);
        answers[task].answers.push(answer);
    }
    Ok(answers)
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
