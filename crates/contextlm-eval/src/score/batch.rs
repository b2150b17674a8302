use contextlm_generate::GenerateError;

use super::group::Group;
use super::{Request, overlap};
use crate::EvalError;

/// Groups of requests that run together.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(super) groups: Vec<Group>,
}

/// A state that scores a token.
pub(super) struct Place {
    /// Group and member within the batch.
    pub group: usize,
    pub member: usize,
    /// Row and position of the state.
    pub row: usize,
    pub position: usize,
    /// The token.
    pub target: u32,
}

/// Groups of like length together, the longest first.
pub(super) fn batches(groups: &[Vec<Request>], window: usize, batch_tokens: usize) -> Vec<Batch> {
    let mut groups: Vec<Group> =
        groups.iter().enumerate().map(|(number, requests)| Group::new(number, requests, window)).collect();
    // Both lengths cost where they differ within a batch; there are more suffixes than prefixes.
    groups.sort_by_key(|group| (group.longest_suffix().div_ceil(8), group.prefix.len(), group.number));
    let mut batches: Vec<Batch> = Vec::new();
    let (mut prefix, mut suffix, mut rows) = (0, 0, 0);
    for group in groups.into_iter().rev() {
        prefix = prefix.max(group.prefix.len());
        suffix = suffix.max(group.longest_suffix());
        rows += group.rows();
        match batches.last_mut() {
            // Caches have every row whole.
            Some(batch) if rows * (prefix + suffix) <= batch_tokens => batch.groups.push(group),
            _ => {
                (prefix, suffix, rows) = (group.prefix.len(), group.longest_suffix(), group.rows());
                batches.push(Batch { groups: vec![group] });
            }
        }
    }
    batches
}

impl Batch {
    /// Requests in it.
    pub fn requests(&self) -> usize {
        self.groups.iter().map(|group| group.members.len()).sum()
    }

    /// Numbers of its groups.
    pub fn numbers(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().map(|group| group.number)
    }

    /// Refuses tokens that the model does not have.
    pub(super) fn check(&self, vocabulary: usize) -> Result<(), EvalError> {
        let beyond = |tokens: &[u32]| tokens.iter().copied().find(|&token| token as usize >= vocabulary);
        for (row, group) in self.groups.iter().enumerate() {
            let of_members = group.members.iter().find_map(|member| beyond(&member.suffix).or(beyond(&member.targets)));
            if let Some(token) = beyond(&group.prefix).or(of_members) {
                return Err(GenerateError::Token { row, token, vocabulary }.into());
            }
        }
        Ok(())
    }

    /// The suffixes that are not empty, and the group within the batch of each.
    pub(super) fn suffixes(&self) -> (Vec<usize>, Vec<&[u32]>) {
        let mut found = (Vec::new(), Vec::new());
        for (number, group) in self.groups.iter().enumerate() {
            for member in group.members.iter().filter(|member| !member.suffix.is_empty()) {
                found.0.push(number);
                found.1.push(member.suffix.as_slice());
            }
        }
        found
    }

    /// Where tokens are scored by states of prefixes.
    pub(super) fn in_prefixes(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for (number, group) in self.groups.iter().enumerate() {
            let prefix = group.prefix.len();
            for (member, asked) in group.members.iter().enumerate() {
                for position in overlap(&asked.scored, 0..prefix) {
                    let target = asked.targets[position - asked.scored.start];
                    places.push(Place { group: number, member, row: number, position, target });
                }
            }
        }
        places
    }

    /// Where tokens are scored by states of suffixes.
    pub(super) fn in_suffixes(&self) -> Vec<Place> {
        let (mut places, mut row) = (Vec::new(), 0);
        for (number, group) in self.groups.iter().enumerate() {
            let prefix = group.prefix.len();
            for (member, asked) in group.members.iter().enumerate().filter(|(_, member)| !member.suffix.is_empty()) {
                for position in overlap(&asked.scored, prefix..prefix + asked.suffix.len()) {
                    let target = asked.targets[position - asked.scored.start];
                    places.push(Place { group: number, member, row, position: position - prefix, target });
                }
                row += 1;
            }
        }
        places
    }
}
