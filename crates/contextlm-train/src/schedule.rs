use crate::TrainConfig;

/// The learning rate of a step, counted from 0: linear warm-up that reaches `lr` with its last step, then a cosine that
/// reaches `min_lr_ratio * lr` with the last step and stays there.
pub(crate) fn learning_rate(config: &TrainConfig, step: usize) -> f64 {
    let TrainConfig { lr, warmup_steps, min_lr_ratio, steps, .. } = *config;
    if step < warmup_steps {
        return lr * (step + 1) as f64 / warmup_steps as f64;
    }
    let last = steps.saturating_sub(1).saturating_sub(warmup_steps).max(1);
    let done = ((step - warmup_steps) as f64 / last as f64).min(1.0);
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
    lr * (min_lr_ratio + (1.0 - min_lr_ratio) * cosine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_over_the_warm_up_and_falls_to_the_floor() {
        let config = TrainConfig { steps: 111, lr: 2.0, warmup_steps: 10, min_lr_ratio: 0.1, ..TrainConfig::default() };
        let rate = |step| learning_rate(&config, step);
        assert_eq!((rate(0), rate(9), rate(10)), (0.2, 2.0, 2.0));
        assert!((rate(60) - 1.1).abs() < 1e-12, "half way: {}", rate(60));
        assert!((rate(110) - 0.2).abs() < 1e-12 && rate(500) == rate(110));
        assert!((11..110).all(|step| rate(step) < rate(step - 1)));
    }

    #[test]
    fn a_run_that_ends_in_its_warm_up_has_no_cosine() {
        let config = TrainConfig { steps: 5, warmup_steps: 10, ..TrainConfig::default() };
        assert!((0..5).all(|step| learning_rate(&config, step).is_finite()));
    }
}
