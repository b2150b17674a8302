use std::error::Error;
use std::process::ExitCode;

/// What a program returns. An error goes to stderr in one line, with what is behind it.
pub fn report(result: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let mut line = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        let reason = error.to_string();
        // Some messages end with that of their source.
        if !line.contains(&reason) {
            line = format!("{line}: {reason}");
        }
        behind = error.source();
    }
    eprintln!("error: {line}");
    ExitCode::FAILURE
}
