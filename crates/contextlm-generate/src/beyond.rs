/// What happens when a sequence reaches the backbone's largest number of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Beyond {
    /// It ends with [`GenerateError::Window`](crate::GenerateError::Window).
    #[default]
    Stop,
    /// Its oldest tokens are forgotten: the last `keep` of a full window are run again as a sequence of their own,
    /// positions and chunks from 0, and decoding goes on behind them. `keep` is at least 1 and below the window.
    Slide {
        /// Tokens that stay, of the backbone's largest number of positions.
        keep: usize,
    },
    /// It goes on, at positions that the model was not trained on. Only for backbones with rotary positions.
    Continue,
}
