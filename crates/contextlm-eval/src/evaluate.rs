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
    let limits = Limits { window, vocabulary: model.backbone.spec().vocabulary, refuse_long: options.refuse_long };
    let mut askings = ask_all(tasks, encoder, &limits)?;
    let counts: Vec<usize> = askings.iter().map(|asking| asking.groups.len()).collect();
    let groups = askings.iter_mut().flat_map(|asking| std::mem::take(&mut asking.groups)).collect();
    let found = score_all(&scorer, groups, options.batch_tokens, cache, progress);
    let mut likelihoods = found.map_err(|error| with_example(error, tasks, &askings, &counts))?.into_iter();

    let mut answers: Vec<Answers> = tasks.iter().map(|(task, data)| Answers::new(task, data)).collect();
    for (asking, count) in askings.into_iter().zip(counts) {
        let (task, data) = &tasks[asking.task];
        let likelihoods = likelihoods.by_ref().take(count).flatten().collect();
        let answer = Answer::new(task, &data.questions[asking.question], likelihoods, asking.truncated);
        answers[asking.task].answers.push(answer);
    }
    Ok(answers)
}

/// An error over a group of requests, with the example that it belongs to.
fn with_example(error: EvalError, tasks: &[(Task, TaskData)], askings: &[Asking], counts: &[usize]) -> EvalError {
    let EvalError::NotFinite { value, group: Some(group) } = error else { return error };
    let mut ends = counts.iter().scan(0, |end, count| {
        *end += count;
        Some(*end)
    });
    let Some(asking) = ends.position(|end| group < end).map(|number| &askings[number]) else { return error };
    let (task, data) = &tasks[asking.task];
    let question = &data.questions[asking.question];
    let (task, path) = (task.name.clone(), question.path.to_path_buf());
    EvalError::NotFiniteExample { task, path, line: question.line, value }
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
        let known = cache.as_ref().and_then(|cache| cache.get(&group, scorer.window()));
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
        let scored = scorer.run(&batch).map_err(|error| match error {
            EvalError::NotFinite { value, group } => {
                EvalError::NotFinite { value, group: group.map(|group| numbers[group]) }
            }
            other => other,
        });
        for (group, likelihoods) in scored? {
            if let Some(cache) = &mut cache {
                cache.put(&open[group], scorer.window(), &likelihoods)?;
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

/// What a request has to keep to.
struct Limits {
    window: usize,
    vocabulary: usize,
    refuse_long: bool,
}

fn ask_all(tasks: &[(Task, TaskData)], encoder: &Encoder, limits: &Limits) -> Result<Vec<Asking>, EvalError> {
    let window = limits.window;
    let mut askings = Vec::new();
    for (number, (_, data)) in tasks.iter().enumerate() {
        let of_question = |(question, asked): (usize, &Question)| {
            let groups = requests(asked, encoder, window)?;
            let truncated = groups.iter().flatten().filter(|request| request.dropped(window) > 0).count();
            check(&groups, asked, limits)?;
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

fn check(groups: &[Vec<Request>], question: &Question, limits: &Limits) -> Result<(), EvalError> {
    let (window, vocabulary) = (limits.window, limits.vocabulary);
    let error = |reason| Err(EvalError::example(&question.path, question.line, reason));
    for (number, request) in groups.iter().flatten().enumerate() {
        let (context, continuation) = (request.context.len(), request.continuation.len());
        let what = match question.asked {
            Asked::Choice { .. } => format!("choice {number}"),
            Asked::Completion { .. } => "the completion".into(),
            Asked::Text { .. } => format!("window {number} of the text"),
        };
        if continuation == 0 {
            return error(format!("{what} has no tokens of its own: this tokenizer merges it into its context"));
        }
        let mut tokens = request.context.iter().chain(&request.continuation);
        if let Some(token) = tokens.find(|&&token| token as usize >= vocabulary) {
            let fix = "is it its own tokenizer?";
            return error(format!("{what} has the token {token}, but the model has {vocabulary}; {fix}"));
        }
        if continuation > window {
            let fix = "split it, or use a model of more positions";
            return error(format!("{what} has {continuation} tokens, the window {window}: {fix}"));
        }
        if limits.refuse_long && request.dropped(window) > 0 {
            let fix = "allow it to be cut, or use a model of more positions";
            let reason = format!("{} inputs, the window is {window}: {fix}", context + continuation - 1);
            return error(format!("{what} and its context are too long: {reason}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::task::Origin;

    fn question(asked: Asked) -> Question {
        Question { path: Path::new("t.jsonl").into(), line: 7, group: None, asked }
    }

    #[test]
    fn what_cannot_be_asked_is_named_with_its_file_and_line() {
        let limits = Limits { window: 4, vocabulary: 10, refuse_long: true };
        let request = |context: &[u32], continuation: &[u32]| {
            vec![vec![Request { context: context.to_vec(), continuation: continuation.to_vec() }]]
        };
        let completion = question(Asked::Completion { context: "a".into(), completion: "b".into() });
        let text = question(Asked::Text { text: "t".into(), words: 1, bytes: 1 });
        let choice = question(Asked::Choice { choices: Vec::new(), gold: 0 });
        for (question, groups, reason) in [
            (&completion, request(&[1], &[]), "the completion has no tokens of its own"),
            (&text, request(&[1], &[2, 3, 4, 5, 6]), "window 0 of the text has 5 tokens, the window 4"),
            (&choice, request(&[1], &[10]), "choice 0 has the token 10, but the model has 10"),
            (&choice, request(&[11], &[1]), "choice 0 has the token 11"),
            (&completion, request(&[1, 2, 3, 4], &[5, 6]), "the completion and its context are too long: 5 inputs"),
        ] {
            let error = check(&groups, question, &limits).unwrap_err().to_string();
            assert!(error.starts_with("t.jsonl, line 7: ") && error.contains(reason), "{error}");
        }
        assert!(check(&request(&[1, 2, 3], &[9, 9]), &choice, &limits).is_ok());
    }

    /// A text has several groups of requests: the number of a group is not that of its example.
    #[test]
    fn a_value_that_is_no_number_is_named_with_its_task_and_line() {
        let task = "name = \"t\"\nversion = 1\nabout = \"a\"\nfiles = [\"t\"]\nshape = \"text\"\nmetrics = [\"bits_per_byte\"]";
        let task = Task::parse(task, Path::new("t.toml")).unwrap();
        let asked = |line| Question { line, ..question(Asked::Text { text: "t".into(), words: 1, bytes: 1 }) };
        let data = TaskData {
            origin: Origin::File("t.jsonl".into()),
            questions: vec![asked(3), asked(5)],
            original: 2,
            original_groups: Default::default(),
            shots: 0,
        };
        let asking = |question| Asking { task: 0, question, groups: Vec::new(), truncated: 0 };
        let (tasks, askings) = ([(task, data)], [asking(0), asking(1)]);
        let named = |group| {
            let error = EvalError::NotFinite { value: f64::NAN, group: Some(group) };
            with_example(error, &tasks, &askings, &[3, 2]).to_string()
        };
        assert!(named(2).starts_with("t.jsonl, line 3: t: a log-probability is NaN"), "{}", named(2));
        assert!(named(3).starts_with("t.jsonl, line 5: t: "), "{}", named(3));
    }
}
