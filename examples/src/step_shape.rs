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
