//! What a GPU's kernels take, where CubeCL runs them.

/// All launches of one kind of kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// Its name, without what it was specialised for.
    pub name: String,
    /// Launches.
    pub times: usize,
    /// Seconds of all of them on the device.
    pub seconds: f64,
}

/// Runs `work` with every kernel timed by itself, one after another; those that took most first. Nothing without a backend
/// of CubeCL in this build.
pub fn time_kernels<T>(work: impl FnOnce() -> T) -> (T, Vec<Kernel>) {
    #[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
    return cubecl::time_kernels(work);
    #[cfg(not(any(feature = "wgpu", feature = "cuda", feature = "cpu")))]
    (work(), Vec::new())
}

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
mod cubecl {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use burn::cubecl::config::{TypeNameFormatLevel, type_name_format};
    use burn::cubecl::logging::{LaunchObservation, LaunchObserver, TimingMethod, TimingRequest};

    use super::Kernel;

    #[derive(Default)]
    struct Sums(Mutex<BTreeMap<&'static str, (usize, Duration)>>);

    impl LaunchObserver for Sums {
        fn launched(&self, _kernel: &'static str) {}

        fn timing(&self) -> TimingRequest {
            TimingRequest::Resolved
        }

        fn timed(&self, kernel: &'static str, duration: Duration, _method: TimingMethod) {
            let Ok(mut sums) = self.0.lock() else { return };
            let (times, sum) = sums.entry(kernel).or_default();
            *times += 1;
            *sum += duration;
        }
    }

    pub(super) fn time_kernels<T>(work: impl FnOnce() -> T) -> (T, Vec<Kernel>) {
        let sums = Arc::new(Sums::default());
        let watching = LaunchObservation::new(sums.clone());
        let done = work();
        drop(watching);
        let sums = sums.0.lock().map(|sums| sums.clone()).unwrap_or_default();
        let mut kernels: Vec<_> = sums
            .into_iter()
            .map(|(name, (times, duration))| {
                let name = type_name_format(name, TypeNameFormatLevel::Short);
                Kernel { name, times, seconds: duration.as_secs_f64() }
            })
            .collect();
        kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        (done, kernels)
    }
}
