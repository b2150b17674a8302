//! The optimizer's step on LibTorch's GPUs: PyTorch's fused AdamW, of many tensors at once within [`together`].

use std::cell::RefCell;

use tch::{Device, Kind, Tensor};

use super::AdamWStep;
use crate::libtorch::script;

/// The step of a tensor: handles of the memory that it reads and writes.
pub(super) struct Update {
    pub(super) x: Tensor,
    pub(super) gradient: Tensor,
    pub(super) m: Tensor,
    pub(super) v: Tensor,
    pub(super) step: AdamWStep,
}

thread_local! {
    /// What [`together`] has collected so far, if it runs.
    static COLLECTED: RefCell<Option<Vec<Update>>> = const { RefCell::new(None) };
}

/// As many as PyTorch's fused AdamW takes in a launch. The device begins with them while the next ones are collected. Tensors
/// with weight decay and those without it are collected together and go into calls of their own, so that launches are less full
/// than that.
const AT_ONCE: usize = 36;

/// Collects the updates on GPUs that `work` asks for, and makes them [`AT_ONCE`] at a time, the last ones when it has returned. A
/// panic of `work` drops those that are not made yet.
pub(super) fn together<T>(work: impl FnOnce() -> T) -> T {
    /// Puts back what was before.
    struct Collecting(Option<Vec<Update>>);
    impl Drop for Collecting {
        fn drop(&mut self) {
            COLLECTED.set(self.0.take());
        }
    }
    let collecting = Collecting(COLLECTED.replace(Some(Vec::new())));
    let result = work();
    let updates = COLLECTED.take().unwrap_or_default();
    drop(collecting);
    make(updates);
    result
}

/// Makes an update now, or within [`together`] later.
pub(super) fn add(update: Update) {
    let due = COLLECTED.with_borrow_mut(|collected| match collected {
        Some(updates) => {
            updates.push(update);
            if updates.len() < AT_ONCE { Vec::new() } else { core::mem::take(updates) }
        }
        None => vec![update],
    });
    make(due);
}

/// Makes updates, those of one device and one step in one call.
fn make(mut updates: Vec<Update>) {
    // The fused one wants elements.
    updates.retain(|update| update.x.numel() > 0);
    while let Some(first) = updates.first() {
        let (device, step) = (first.x.device(), first.step);
        let (of_step, others): (Vec<_>, _) =
            updates.into_iter().partition(|update| update.x.device() == device && update.step == step);
        if at_once(&of_step, device, step).is_none() {
            of_step.into_iter().for_each(in_place);
        }
        updates = others;
    }
}

/// PyTorch's fused AdamW, a few launches for all tensors together.
fn at_once(updates: &[Update], device: Device, step: AdamWStep) -> Option<()> {
    let AdamWStep { lr, beta_1, beta_2, eps, weight_decay, time } = step;
    let time = Tensor::full([] as [i64; 0], time as f64, (Kind::Float, device));
    let list = |of: fn(&Update) -> &Tensor| updates.iter().map(|update| of(update).shallow_clone()).collect();
    let times = updates.iter().map(|_| time.shallow_clone()).collect();
    let lists = [list(|of| &of.x), list(|of| &of.gradient), list(|of| &of.m), list(|of| &of.v), times];
    let [beta_1, beta_2, weight_decay, eps] = [beta_1, beta_2, weight_decay, eps].map(f64::from);
    script::adamw(lists, [lr, beta_1, beta_2, weight_decay, eps])
}

/// The step by operations that write where they read, for a PyTorch without the fused one.
///
/// What the update `lr (m / left_1) / (sqrt(v / left_2) + eps)` is scaled by goes into its denominator, which is narrower work
/// than a pass over the quotient: `-m / (a sqrt(v) + b)` with a = left_1 / (lr sqrt(left_2)) and b = left_1 eps / lr.
fn in_place(update: Update) {
    let Update { mut x, gradient, mut m, mut v, step } = update;
    let AdamWStep { lr, beta_1, beta_2, eps, weight_decay, time } = step;
    let [left_1, left_2] = [beta_1, beta_2].map(|beta| 1.0 - f64::from(beta).powi(time as i32));
    let _ = m.lerp_(&gradient, 1.0 - f64::from(beta_1));
    let _ = v.lerp_(&gradient.square(), 1.0 - f64::from(beta_2));
    if weight_decay != 0.0 {
        let _ = x.g_mul_scalar_(1.0 - lr * f64::from(weight_decay));
    }
    if lr != 0.0 {
        let mut denominator = v.sqrt();
        let _ = denominator.g_mul_scalar_(-left_1 / (lr * left_2.sqrt()));
        let _ = denominator.g_add_scalar_(-left_1 * f64::from(eps) / lr);
        let _ = x.addcdiv_(&m, &denominator);
    }
}

#[cfg(test)]
mod tests {
    use super::super::update::update;
    use super::*;
    use crate::libtorch::{values, values_mut};

    /// Counts, the second of which is none.
    const COUNTS: [i64; 3] = [1001, 0, 7];

    /// Three steps of some tensors, with weight decay on every second one.
    fn run(lr: f64, weight_decay: f32, step: impl Fn(Vec<Update>)) -> Tensor {
        let start = |count, seed: f64| (Tensor::arange(count, (Kind::Float, Device::Cpu)) * 1.7 + seed).sin();
        let tensors = COUNTS.map(|count| [start(count, 1.0), start(count, 2.0) * 0.1, start(count, 3.0).square()]);
        for time in 1..4 {
            let update = |(number, [x, m, v]): (usize, &[Tensor; 3])| {
                let weight_decay = if number % 2 == 0 { weight_decay } else { 0.0 };
                let step = AdamWStep { lr, beta_1: 0.9, beta_2: 0.95, eps: 1e-3, weight_decay, time };
                let [x, m, v] = [x, m, v].map(Tensor::shallow_clone);
                Update { gradient: start(x.size()[0], 3.0 + time as f64), x, m, v, step }
            };
            step(tensors.iter().enumerate().map(update).collect());
        }
        Tensor::cat(tensors.as_flattened(), 0)
    }

    fn in_slices(updates: Vec<Update>) {
        for Update { mut x, gradient, mut m, mut v, step } in updates {
            update(values_mut(&mut x), values(&gradient), values_mut(&mut m), values_mut(&mut v), step);
        }
    }

    /// What runs on GPUs runs on the CPU here, beside the pass over slices.
    #[test]
    fn on_gpus_it_is_the_same() {
        for (lr, weight_decay) in [(0.02, 0.25), (0.02, 0.0), (0.0, 0.25)] {
            let expected = run(lr, weight_decay, in_slices);
            let check = |what: &str, found: Tensor| {
                assert!(found.allclose(&expected, 1e-5, 1e-6, false), "{what}: lr {lr}, decay {weight_decay}");
            };
            check("by operations", run(lr, weight_decay, |updates| updates.into_iter().for_each(in_place)));
            check("one by one", run(lr, weight_decay, |updates| updates.into_iter().for_each(add)));
            let collected = |updates: Vec<Update>| {
                let before: Vec<_> = updates.iter().map(|update| update.m.copy()).collect();
                let handles: Vec<_> = updates.iter().map(|update| update.m.shallow_clone()).collect();
                together(|| {
                    updates.into_iter().for_each(add);
                    assert!(before.iter().zip(&handles).all(|(before, now)| before.equal(now)), "not yet");
                });
                assert!(!before[0].equal(&handles[0]), "now");
            };
            check("together", run(lr, weight_decay, collected));
        }
    }

    #[test]
    fn the_fused_step_is_there() {
        let some = |seed: f64| (Tensor::arange(5, (Kind::Float, Device::Cpu)) + seed).sin();
        let step = AdamWStep { lr: 0.1, beta_1: 0.9, beta_2: 0.95, eps: 1e-3, weight_decay: 0.0, time: 1 };
        let update = Update { x: some(1.0), gradient: some(2.0), m: some(3.0), v: some(4.0).square(), step };
        assert!(at_once(&[update], Device::Cpu, step).is_some());
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let panics = std::panic::catch_unwind(|| together(|| panic!("on purpose")));
        assert!(panics.is_err() && COLLECTED.with_borrow(Option::is_none));
    }
}
