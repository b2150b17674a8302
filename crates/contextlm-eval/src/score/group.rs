use std::ops::Range;

use super::{Request, common};

/// The requests of one group, cut where they begin to differ.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Its number among all groups.
    pub number: usize,
    /// Inputs that all of its requests begin with.
    pub prefix: Vec<u32>,
    pub members: Vec<Member>,
}

/// One request of a group.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Its inputs behind the prefix.
    pub suffix: Vec<u32>,
    /// Which of its inputs, prefix included, are followed by a token that is scored.
    pub scored: Range<usize>,
    /// Those tokens.
    pub targets: Vec<u32>,
}

impl Group {
    pub fn new(number: usize, requests: &[Request], window: usize) -> Self {
        let inputs: Vec<Vec<u32>> = requests.iter().map(|request| request.inputs(window)).collect();
        let shared = |all: &[Vec<u32>]| all.iter().map(|other| common(&all[0], other)).min();
        let prefix = shared(&inputs).map_or(0, |length| length);
        let member = |(request, inputs): (&Request, &Vec<u32>)| {
            // What is scored but not left in the window has no input; encoders refuse it before.
            let count = request.continuation.len().min(inputs.len());
            let targets = request.continuation[request.continuation.len() - count..].to_vec();
            Member { suffix: inputs[prefix..].to_vec(), scored: inputs.len() - count..inputs.len(), targets }
        };
        let members = requests.iter().zip(&inputs).map(member).collect();
        Self { number, prefix: inputs.first().map_or(Vec::new(), |first| first[..prefix].to_vec()), members }
    }

    /// Inputs of its longest suffix.
    pub fn longest_suffix(&self) -> usize {
        self.members.iter().map(|member| member.suffix.len()).max().unwrap_or(0)
    }

    /// Requests with a suffix, but at least 1 for the prefix.
    pub fn rows(&self) -> usize {
        self.members.iter().filter(|member| !member.suffix.is_empty()).count().max(1)
    }
}
