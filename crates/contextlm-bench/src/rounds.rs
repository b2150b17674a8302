use crate::{Answer, BenchError, Request, Side, Work};

/// Lets sides take turns, round after round, so that a slow minute of the machine hits all of them. Answers by side, then
/// by round.
///
/// # Errors
/// As [`Side::ask`].
pub(crate) fn alternate(
    turns: &mut [(&mut Side, Request)],
    rounds: usize,
    mut done: impl FnMut(),
) -> Result<Vec<Vec<Answer>>, BenchError> {
    let mut answers = vec![Vec::new(); turns.len()];
    for _ in 0..rounds {
        for ((side, request), answers) in turns.iter_mut().zip(&mut answers) {
            answers.push(side.ask(request)?);
            done();
        }
    }
    Ok(answers)
}

/// The median; NaN of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => f64::NAN,
        (count, middle) if count % 2 == 1 => values[middle],
        (_, middle) => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The median seconds of each round.
pub(crate) fn seconds(answers: &[Answer], work: Work) -> Vec<f64> {
    let of = |answer: &Answer| -> Vec<f64> {
        answer.samples.iter().filter(|sample| sample.work == work).map(|sample| sample.seconds).collect()
    };
    answers.iter().map(|answer| median(of(answer))).filter(|seconds| seconds.is_finite()).collect()
}

/// The median of the rounds' ratios.
pub(crate) fn ratio(above: &[f64], below: &[f64]) -> f64 {
    median(above.iter().zip(below).map(|(above, below)| above / below).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_those_of_rounds() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
        // A slow round slows both.
        assert_eq!(ratio(&[2.0, 20.0, 3.0], &[1.0, 10.0, 1.0]), 2.0);
    }
}
