//! What a verb says, and how it ends.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::interrupt;

/// What a verb has found out: for people, and for programs.
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) json: Value,
}

pub(crate) type Outcome = Result<Report, Box<dyn Error>>;

/// Prints a report, or an error in one line.
pub(crate) fn finish(outcome: Outcome, json: bool) -> ExitCode {
    match outcome.and_then(|report| Ok(print(&report, json)?)) {
        Ok(()) if interrupt::interrupted() => ExitCode::from(interrupt::CODE),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", printable(&in_a_line(&*error)));
            if interrupt::interrupted() { ExitCode::from(interrupt::CODE) } else { ExitCode::FAILURE }
        }
    }
}

fn print(report: &Report, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match report.text.trim_end() {
        _ if json => writeln!(out, "{}", report.json),
        // What was to be said has been said already.
        "" => Ok(()),
        text => writeln!(out, "{text}"),
    }
}

/// The message of an error, and those behind it that it does not say itself.
fn in_a_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        let reason = error.to_string();
        if !line.contains(&reason) {
            line = format!("{line}: {reason}");
        }
        behind = error.source();
    }
    line
}

/// What a terminal shows as it is: names in files may hold anything.
fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        c if c.is_control() && c != '\n' => c.escape_default().to_string(),
        c => c.into(),
    };
    text.chars().map(shown).collect()
}

/// Something is going on: shown on stderr where that is a terminal, until it is dropped.
pub(crate) struct Busy(ProgressBar);

impl Busy {
    pub(crate) fn new(doing: impl Into<String>) -> Self {
        let bar = ProgressBar::new_spinner().with_message(doing.into());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// How far something is, shown on stderr where that is a terminal, until it is dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new(1);
        if let Ok(style) = ProgressStyle::with_template("{msg:20} {wide_bar} {percent:>3} %, {eta} left") {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(crate) fn set(&self, doing: &'static str, done: usize, of: usize) {
        if self.0.message() != doing {
            self.0.reset();
            self.0.set_message(doing);
        }
        self.0.set_length(of as u64);
        self.0.set_position(done as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
