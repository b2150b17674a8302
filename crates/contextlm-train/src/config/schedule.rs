use serde::{Deserialize, Serialize};

use super::share;
use crate::TrainError;

/// The course of the learning rate after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleName {
    /// Half a cosine, down to the floor at the last step.
    #[default]
    Cosine,
    /// Warm-up, stable, decay: constant, and linearly down to the floor over the last steps (arXiv 2404.06395).
    Wsd,
    /// Constant.
    Constant,
}

/// The learning rate over the steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// The course after the warm-up.
    pub name: ScheduleName,
    /// Steps of linear warm-up; excludes `warmup_ratio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<usize>,
    /// The same as a share of all steps, rounded up; 0.01 where neither is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_ratio: Option<f64>,
    /// Where `cosine` and `wsd` end, as a share of the largest rate.
    pub min_lr_ratio: f64,
    /// Share of all steps over which `wsd` decays, rounded up.
    pub decay_ratio: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { name: ScheduleName::Cosine, warmup_steps: None, warmup_ratio: None, min_lr_ratio: 0.1, decay_ratio: 0.2 }
    }
}

impl ScheduleConfig {
    /// Steps of the warm-up of a run.
    pub fn warmup(&self, steps: usize) -> usize {
        match self.warmup_steps {
            Some(steps) => steps,
            None => rounded_up(self.warmup_ratio.unwrap_or(0.01), steps),
        }
    }

    /// What the largest learning rate is multiplied by in a step, counted from 0.
    ///
    /// Warm-up is linear and reaches 1 with its last step. `cosine` and `wsd` reach `min_lr_ratio` with the last step of
    /// the run and stay there.
    pub fn factor(&self, step: usize, steps: usize) -> f64 {
        let warmup = self.warmup(steps);
        if step < warmup {
            return (step + 1) as f64 / warmup as f64;
        }
        let falls_from = match self.name {
            ScheduleName::Constant => return 1.0,
            ScheduleName::Cosine => warmup,
            // One step before the first lower one; never in the warm-up.
            ScheduleName::Wsd => warmup.max(steps.saturating_sub(rounded_up(self.decay_ratio, steps) + 1)),
        };
        let length = steps.saturating_sub(1).saturating_sub(falls_from).max(1);
        let done = (step.saturating_sub(falls_from) as f64 / length as f64).min(1.0);
        let height = match self.name {
            ScheduleName::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            _ => 1.0 - done,
        };
        self.min_lr_ratio + (1.0 - self.min_lr_ratio) * height
    }

    pub(super) fn validate(&self) -> Result<(), TrainError> {
        if let (Some(warmup), Some(_)) = (self.warmup_steps, self.warmup_ratio) {
            return Err(TrainError::config("schedule.warmup_steps", warmup, "give this or warmup_ratio, not both"));
        }
        share("schedule.warmup_ratio", self.warmup_ratio.unwrap_or(0.0))?;
        share("schedule.min_lr_ratio", self.min_lr_ratio)?;
        share("schedule.decay_ratio", self.decay_ratio)
    }
}

fn rounded_up(ratio: f64, steps: usize) -> usize {
    (ratio * steps as f64).ceil() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(name: ScheduleName) -> ScheduleConfig {
        ScheduleConfig { name, warmup_steps: Some(10), ..ScheduleConfig::default() }
    }

    #[test]
    fn a_cosine_rises_over_the_warm_up_and_falls_to_the_floor() {
        let rate = |step| schedule(ScheduleName::Cosine).factor(step, 111);
        assert_eq!((rate(0), rate(9), rate(10)), (0.1, 1.0, 1.0));
        assert!((rate(60) - 0.55).abs() < 1e-12, "half way: {}", rate(60));
        assert!((rate(110) - 0.1).abs() < 1e-12 && rate(500) == rate(110));
        assert!((11..110).all(|step| rate(step) < rate(step - 1)));
        for step in 10..111 {
            let cosine = (std::f64::consts::PI * (step - 10) as f64 / 100.0).cos();
            assert!((rate(step) - (0.1 + 0.9 * 0.5 * (1.0 + cosine))).abs() < 1e-12);
        }
    }

    #[test]
    fn wsd_is_stable_and_falls_linearly_over_its_last_share() {
        let rate = |step| schedule(ScheduleName::Wsd).factor(step, 100);
        assert_eq!((rate(0), rate(9)), (0.1, 1.0));
        assert!((10..80).all(|step| rate(step) == 1.0), "the first lower rate is that of step 80");
        for step in 80..100 {
            assert!((rate(step) - (1.0 - 0.9 * (step - 79) as f64 / 20.0)).abs() < 1e-12, "{step}: {}", rate(step));
        }
    }

    #[test]
    fn a_constant_rate_only_warms_up() {
        let rate = |step| schedule(ScheduleName::Constant).factor(step, 100);
        assert_eq!(rate(4), 0.5);
        assert!((9..200).all(|step| rate(step) == 1.0));
    }

    #[test]
    fn the_warm_up_is_a_share_of_the_steps_unless_it_is_given() {
        assert_eq!(ScheduleConfig::default().warmup(1001), 11);
        assert_eq!(ScheduleConfig { warmup_ratio: Some(0.0), ..ScheduleConfig::default() }.warmup(1000), 0);
        assert_eq!(schedule(ScheduleName::Cosine).warmup(1000), 10);
    }

    #[test]
    fn runs_that_end_in_their_warm_up_or_decay_all_the_way_have_finite_rates() {
        for name in [ScheduleName::Cosine, ScheduleName::Wsd, ScheduleName::Constant] {
            for (warmup, decay_ratio, steps) in [(10, 0.2, 5), (0, 1.0, 7), (0, 0.0, 1), (3, 1.0, 4)] {
                let schedule = ScheduleConfig { warmup_steps: Some(warmup), decay_ratio, ..schedule(name) };
                let rates: Vec<_> = (0..steps + 2).map(|step| schedule.factor(step, steps)).collect();
                assert!(rates.iter().all(|rate| (0.0..=1.0).contains(rate)), "{name:?}: {rates:?}");
            }
        }
    }
}
