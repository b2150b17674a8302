use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use contextlm_data::{PrepareOptions, Tokenizer, prepare};

use crate::{Answer, PeakMemory, Sample, Work};

/// Makes token shards of a file of JSON lines: reading, encoding, writing and hashing.
pub(crate) fn measure(tokenizer: &Path, text: &Path) -> Result<Answer, Box<dyn Error>> {
    let tokenizer = Tokenizer::from_file(tokenizer)?;
    let (folder, inputs) = (tempfile::tempdir()?, [PathBuf::from(text)]);
    let (memory, clock) = (PeakMemory::begin(), Instant::now());
    let options = PrepareOptions { held: None, ..PrepareOptions::default() };
    let found = prepare(&inputs, &tokenizer, folder.path(), &options, |_| true)?;
    let seconds = clock.elapsed().as_secs_f64();
    // Without the end-of-text token of every document, which the peer does not add.
    let tokens = found.train.tokens - found.train.documents;
    Ok(Answer {
        samples: vec![Sample { work: Work::Tokenising, seconds, tokens }],
        parameters: 0,
        peak_bytes: memory.end(),
        program: None,
    })
}
