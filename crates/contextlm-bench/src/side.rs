use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::request::Reply;
use crate::{Answer, BenchError, Request};

/// A process that measures: ours ([`answer_requests`](crate::answer_requests)) or a peer that answers the same lines.
///
/// Each side has a process of its own, so that its memory is its own, and keeps its model from one request to the next.
pub struct Side {
    name: String,
    child: Child,
    /// `None` only while it is dropped: closing it ends the process.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Side {
    /// Starts a process. What it writes on stderr is shown.
    ///
    /// # Errors
    /// [`BenchError::Start`].
    pub fn start(name: impl Into<String>, mut command: Command) -> Result<Self, BenchError> {
        let called = command.get_program().to_string_lossy().into_owned();
        let start = |source| BenchError::Start { command: called.clone(), source };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(start)?;
        let missing = || start(std::io::Error::other("it has no pipes"));
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        Ok(Self { name: name.into(), child, input: Some(input), output: BufReader::new(output) })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// [`BenchError::Ended`], [`BenchError::Answer`], [`BenchError::Failed`].
    pub fn ask(&mut self, request: &Request) -> Result<Answer, BenchError> {
        let line =
            serde_json::to_string(request).map_err(|error| BenchError::setting("request", "", error.to_string()))?;
        let sent = self.input.as_mut().map(|input| writeln!(input, "{line}").and_then(|()| input.flush()));
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        if !matches!(sent, Some(Ok(()))) || !matches!(read, Ok(1..)) {
            let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(BenchError::Ended { side: self.name.clone(), status });
        }
        match serde_json::from_str(&line) {
            Ok(Reply::Answer(answer)) => Ok(answer),
            Ok(Reply::Error(reason)) => Err(BenchError::Failed { side: self.name.clone(), reason }),
            Err(error) => Err(BenchError::Answer {
                side: self.name.clone(),
                line: line.trim_end().chars().take(200).collect(),
                reason: error.to_string(),
            }),
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.wait().ok();
    }
}
