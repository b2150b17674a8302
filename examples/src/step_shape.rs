/// The model and the batch of a step that is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct StepShape {
    /// Width of a GPT-2
    #[arg(long, default_value_t = 512)]
    pub width: usize,
    /// Its blocks
    #[arg(long, default_value_t = 6)]
    pub layers: usize,
    /// Attention heads
    #[arg(long, default_value_t = 8)]
    pub heads: usize,
    /// Size of the vocabulary
    #[arg(long, default_value_t = 8192)]
    pub vocabulary: usize,
    /// Sequences in a batch
    #[arg(long, default_value_t = 4)]
    pub rows: usize,
    /// Tokens in a sequence
    #[arg(long, default_value_t = 256)]
    pub length: usize,
}

impl StepShape {
    /// What no step can have, if the shape has it: a size of 0, or a width that the heads do not divide.
    ///
    /// # Errors
    /// The option, its value and what it must be.
    pub fn check(&self) -> Result<(), String> {
        let Self { width, layers, heads, vocabulary, rows, length } = *self;
        let sizes = [("width", width), ("layers", layers), ("heads", heads), ("vocabulary", vocabulary)];
        for (name, size) in sizes.into_iter().chain([("rows", rows), ("length", length)]) {
            if size == 0 {
                return Err(format!("--{name} 0: use at least 1"));
            }
        }
        match width.is_multiple_of(heads) {
            true => Ok(()),
            false => Err(format!("--heads {heads}: must divide the width, {width}")),
        }
    }
}
