use indicatif::{ProgressBar, ProgressStyle};

/// A bar on stderr with loss, tokens a second and the time left; nothing where stderr is not a terminal.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar.
    pub fn bar() -> Self {
        Self::named("training")
    }

    /// A bar with a name.
    pub fn named(name: impl Into<String>) -> Self {
        let bar = ProgressBar::new(0).with_prefix(name.into());
        let style = "{prefix} {wide_bar} {pos}/{len} {msg} left {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// No bar.
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    pub(crate) fn start(&self, steps: usize, done: usize) {
        self.bar.set_length(steps as u64);
        self.bar.set_position(done as u64);
        self.bar.reset_eta();
    }

    pub(crate) fn step(&self, loss: f64, tokens_per_second: f64) {
        self.bar.set_message(format!("loss {loss:.3}, {tokens_per_second:.0} tokens/s"));
        self.bar.inc(1);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
