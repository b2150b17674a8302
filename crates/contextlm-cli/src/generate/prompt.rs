use std::error::Error;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

/// Where the prompt comes from.
#[derive(clap::Args)]
pub(crate) struct PromptArgs {
    /// Text to continue; without it and --prompt-file it is read from stdin
    #[arg(long)]
    prompt: Option<String>,
    /// File with the text to continue
    #[arg(long, conflicts_with = "prompt")]
    prompt_file: Option<PathBuf>,
}

impl PromptArgs {
    /// The text, not empty.
    pub(crate) fn read(&self) -> Result<String, Box<dyn Error>> {
        let (text, from) = match (&self.prompt, &self.prompt_file) {
            (Some(text), _) => (text.clone(), "--prompt".to_string()),
            (None, Some(path)) => {
                let from = format!("--prompt-file {}", path.display());
                (std::fs::read_to_string(path).map_err(|error| format!("{from}: {error}"))?, from)
            }
            (None, None) => {
                if io::stdin().is_terminal() {
                    return Err("there is no prompt: give --prompt, --prompt-file, or text on stdin".into());
                }
                let mut text = String::new();
                io::stdin().read_to_string(&mut text).map_err(|error| format!("stdin: {error}"))?;
                (text, "stdin".to_string())
            }
        };
        if text.is_empty() {
            return Err(format!("{from}: the prompt is empty; give at least one character").into());
        }
        Ok(text)
    }
}
