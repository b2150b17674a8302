use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::StepLine;
use crate::chart::count;

/// Where a run is, on stderr: a bar with a line of numbers where that is a terminal, and elsewhere such a line now and then.
#[derive(Debug, Clone)]
pub struct Progress {
    name: String,
    shown: Shown,
    clock: Arc<Mutex<Clock>>,
}

#[derive(Debug, Clone)]
enum Shown {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

/// When what was shown.
#[derive(Debug, Default)]
struct Clock {
    steps: usize,
    done: usize,
    /// When the first step was begun, until it is made.
    first: Option<Instant>,
    /// After the first step, which may compile kernels and is not like the others.
    second: Option<(Instant, usize)>,
    last_line: Option<Instant>,
}

/// Between two lines.
const EVERY: Duration = Duration::from_secs(10);

impl Progress {
    /// A bar, or lines.
    pub fn bar() -> Self {
        Self::named("training")
    }

    /// The same, with a name.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        let shown = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(0).with_prefix(name.clone());
            if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}\n{wide_msg}") {
                bar.set_style(style);
            }
            Shown::Bar(bar)
        } else {
            Shown::Lines
        };
        Self { name, shown, clock: Arc::default() }
    }

    /// Nothing.
    pub fn hidden() -> Self {
        Self { name: String::new(), shown: Shown::Nothing, clock: Arc::default() }
    }

    pub(crate) fn start(&self, steps: usize, done: usize) {
        if let Ok(mut clock) = self.clock.lock() {
            *clock = Clock { steps, done, first: Some(Instant::now()), ..Clock::default() };
        }
        if let Shown::Bar(bar) = &self.shown {
            bar.set_length(steps as u64);
            bar.set_position(done as u64);
        }
        if !matches!(self.shown, Shown::Nothing) {
            let (clock, shown, name) = (Arc::downgrade(&self.clock), self.shown.clone(), self.name.clone());
            spawn(move || tell_first_step(&clock, &shown, &name));
        }
    }

    pub(crate) fn step(&self, line: &StepLine) {
        let Ok(mut clock) = self.clock.lock() else { return };
        let now = Instant::now();
        clock.done = line.metrics.step;
        clock.first = None;
        let left = clock.left(now);
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.set_position(clock.done as u64);
                bar.set_message(numbers(line, left));
            }
            Shown::Lines => {
                let due = clock.last_line.is_none_or(|last| now - last >= EVERY) || clock.done == clock.steps;
                if due {
                    clock.last_line = Some(now);
                    let (name, done, steps) = (&self.name, clock.done, clock.steps);
                    // A closed stderr must not end the training.
                    let _ = writeln!(std::io::stderr(), "{name} {done}/{steps}  {}", numbers(line, left));
                }
            }
        }
    }

    pub(crate) fn finish(&self) {
        if let Ok(mut clock) = self.clock.lock() {
            clock.first = None;
        }
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

/// Says that the first step is still being made, until it is: it can take a minute on a GPU.
fn tell_first_step(clock: &Weak<Mutex<Clock>>, shown: &Shown, name: &str) {
    let every = if matches!(shown, Shown::Bar(_)) { Duration::from_secs(1) } else { EVERY };
    let begun = |clock: &Weak<Mutex<Clock>>| clock.upgrade()?.lock().ok()?.first;
    let first = begun(clock);
    loop {
        sleep(every);
        // Gone, done, or another run.
        let Some(began) = begun(clock).filter(|began| Some(*began) == first) else { return };
        let told = first_step(began.elapsed());
        match shown {
            Shown::Bar(bar) => bar.set_message(told),
            Shown::Lines => drop(writeln!(std::io::stderr(), "{name}: {told}")),
            Shown::Nothing => return,
        }
    }
}

fn first_step(took: Duration) -> String {
    format!("first step, {} so far; a GPU compiles and tunes its kernels in it, and keeps them", time(took))
}

impl Clock {
    /// How long the rest will take if it goes on as since the first step of this process; unknown after that alone.
    fn left(&mut self, now: Instant) -> Option<Duration> {
        let (began, from) = *self.second.get_or_insert((now, self.done));
        let made = self.done.checked_sub(from).filter(|made| *made > 0)?;
        let rest = self.steps.saturating_sub(self.done) as f64;
        Duration::try_from_secs_f64((now - began).as_secs_f64() / made as f64 * rest).ok()
    }
}

/// Tokens, losses, gradient norm, rate, speed, and time left.
fn numbers(line: &StepLine, left: Option<Duration>) -> String {
    let step = &line.metrics;
    let smoothed = line.smoothed_loss.map_or(String::new(), |loss| format!(" (smoothed {loss:.3})"));
    let mfu = line.mfu.map_or("n/a".into(), |mfu| format!("{:.1} %", 100.0 * mfu));
    let left = left.map_or("?".into(), time);
    let skipped = if step.skipped { "  SKIPPED" } else { "" };
    format!(
        "{} tokens  loss {:.3}{smoothed}  grad {:.2}  lr {:.2e}  {} tok/s  MFU {mfu}  left {left}{skipped}",
        count(step.tokens as f64),
        step.loss,
        step.grad_norm,
        step.lr,
        count(step.tokens_per_second),
    )
}

/// The two largest units of a time.
fn time(left: Duration) -> String {
    let seconds = left.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h {minutes:02}m"),
        _ => format!("{days}d {hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StepMetrics;

    const LINE: StepLine = StepLine {
        metrics: StepMetrics {
            step: 12,
            tokens: 6_291_456,
            loss: 3.1234,
            latent_loss: None,
            lr: 6e-4,
            grad_norm: 0.456,
            tokens_per_second: 12_345.0,
            skipped: false,
        },
        smoothed_loss: Some(3.25),
        mfu: None,
    };

    #[test]
    fn everything_is_told() {
        let expected =
            "6.29M tokens  loss 3.123 (smoothed 3.250)  grad 0.46  lr 6.00e-4  12.35k tok/s  MFU n/a  left 2m 05s";
        assert_eq!(numbers(&LINE, Some(Duration::from_secs(125))), expected);
        let with = StepLine { mfu: Some(0.4321), ..LINE };
        assert!(numbers(&with, None).ends_with("MFU 43.2 %  left ?"), "{}", numbers(&with, None));
    }

    #[test]
    fn the_first_step_is_waited_for() {
        let progress = Progress { shown: Shown::Lines, ..Progress::hidden() };
        progress.start(3, 0);
        let waits = |progress: &Progress| progress.clock.lock().unwrap().first.is_some();
        assert!(waits(&progress));
        progress.step(&LINE);
        assert!(!waits(&progress));
        assert!(first_step(Duration::from_secs(72)).starts_with("first step, 1m 12s so far"));
    }

    #[test]
    fn times_have_two_units() {
        let found = [59, 61, 3725, 90_061].map(|seconds| time(Duration::from_secs(seconds)));
        assert_eq!(found, ["59s", "1m 01s", "1h 02m", "1d 01h"]);
    }

    #[test]
    fn the_first_step_does_not_count() {
        let mut clock = Clock { steps: 11, done: 1, ..Clock::default() };
        let began = Instant::now();
        assert_eq!(clock.left(began), None);
        clock.done = 3;
        assert_eq!(clock.left(began + Duration::from_secs(4)), Some(Duration::from_secs(16)));
        clock.done = 11;
        assert_eq!(clock.left(began + Duration::from_secs(20)), Some(Duration::ZERO));
    }
}
