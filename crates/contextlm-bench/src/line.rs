use contextlm_core::ContextLmConfig;
use serde::Serialize;

use crate::rounds::{median, ratio, seconds};
use crate::{Answer, Work, expected_over_plain};

/// One line of the table: a kind of work of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The work.
    pub work: Work,
    /// The model.
    pub model: String,
    /// Its parameters, 0 without a model.
    pub parameters: u64,
    /// The median of the rounds; see [`Work`] for what is done in this time.
    pub seconds: f64,
    /// Tokens that go through in a second, if any do.
    pub tokens_per_second: Option<f64>,
    /// The largest anonymous memory of a round, above that of the empty process.
    pub peak_bytes: Option<u64>,
    /// Seconds over those of the plain model: the median of the rounds' ratios.
    pub over_plain: Option<f64>,
    /// What that would be if the predictor were all: 1 + predictor_layers / (w * L).
    pub expected_over_plain: Option<f64>,
    /// Decode on a CPU: the seconds in which memory gives all the weights that a token meets.
    pub floor_seconds: Option<f64>,
    /// The peer with its versions.
    pub peer: Option<String>,
    /// The peer's median seconds.
    pub peer_seconds: Option<f64>,
    /// The peer's seconds over these: above 1 we are faster. The median of the rounds' ratios.
    pub speed_over_peer: Option<f64>,
    /// The peer's peak.
    pub peer_peak_bytes: Option<u64>,
    /// Our peak over the peer's: below 1 is less.
    pub memory_over_peer: Option<f64>,
    /// The seconds of every round, medians where a round has several.
    pub seconds_of_rounds: Vec<f64>,
    /// The same of the peer.
    pub peer_seconds_of_rounds: Vec<f64>,
}

/// Lines of models that were measured in turn, the plain one first; the peer's model is the plain one too.
pub(crate) fn lines(
    models: &[(&str, &Vec<Answer>)],
    peer: Option<&[Answer]>,
    config: Option<&ContextLmConfig>,
) -> Vec<Line> {
    let mut lines = Vec::new();
    for work in [Work::Training, Work::Prefill, Work::Decode, Work::Loading, Work::Tokenising] {
        for (number, (name, answers)) in models.iter().enumerate() {
            let of_rounds = seconds(answers, work);
            if of_rounds.is_empty() {
                continue;
            }
            let last = models.len() - 1;
            let plain = (number > 0).then(|| seconds(models[0].1, work));
            // The deeper model and ContextLM are compared with the plain one, and that one with the peer.
            let peer = peer.filter(|_| number == 0);
            let of_peer = peer.map_or(Vec::new(), |answers| seconds(answers, work));
            let (peak, peer_peak) = (peak_bytes(answers), peer.and_then(peak_bytes));
            let tokens = tokens(answers, work);
            lines.push(Line {
                work,
                model: (*name).into(),
                parameters: answers.first().map_or(0, |answer| answer.parameters),
                seconds: median(of_rounds.clone()),
                tokens_per_second: (tokens > 0).then(|| tokens as f64 / median(of_rounds.clone())),
                peak_bytes: peak,
                over_plain: plain.map(|plain| ratio(&of_rounds, &plain)),
                expected_over_plain: config.filter(|_| number > 0 && number == last).map(expected_over_plain),
                floor_seconds: None,
                peer: peer.and_then(|answers| answers.first()?.program.clone()),
                peer_seconds: (!of_peer.is_empty()).then(|| median(of_peer.clone())),
                speed_over_peer: (!of_peer.is_empty()).then(|| ratio(&of_peer, &of_rounds)),
                peer_peak_bytes: peer_peak,
                memory_over_peer: peak.zip(peer_peak).map(|(ours, peer)| ours as f64 / peer as f64),
                seconds_of_rounds: of_rounds,
                peer_seconds_of_rounds: of_peer,
            });
        }
    }
    lines
}

fn peak_bytes(answers: &[Answer]) -> Option<u64> {
    answers.iter().filter_map(|answer| answer.peak_bytes).max()
}

fn tokens(answers: &[Answer], work: Work) -> u64 {
    let mut samples = answers.iter().flat_map(|answer| &answer.samples);
    samples.find(|sample| sample.work == work).map_or(0, |sample| sample.tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;

    fn answers(seconds: &[f64], peak: u64) -> Vec<Answer> {
        let answer = |seconds: &f64| Answer {
            samples: vec![Sample { work: Work::Training, seconds: *seconds, tokens: 8 }],
            parameters: 5,
            peak_bytes: Some(peak),
            program: None,
        };
        seconds.iter().map(answer).collect()
    }

    #[test]
    fn a_model_is_compared_with_the_plain_one_and_that_with_the_peer() {
        let (plain, context, peer) = (answers(&[2.0, 4.0], 100), answers(&[3.0, 6.0], 150), answers(&[4.0, 4.0], 200));
        let lines = lines(&[("plain", &plain), ("context", &context)], Some(&peer), None);
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].seconds, lines[0].tokens_per_second), (3.0, Some(8.0 / 3.0)));
        assert_eq!(
            (lines[0].speed_over_peer, lines[0].memory_over_peer, lines[0].over_plain),
            (Some(1.5), Some(0.5), None)
        );
        assert_eq!((lines[1].over_plain, lines[1].speed_over_peer), (Some(1.5), None));
    }
}
