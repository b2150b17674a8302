use burn::tensor::{Device, Tensor};
use contextlm_core::position_rule::{context_of, first_position_of};
use contextlm_core::{
    Backbone, ContextConfig, ContextLm, DecodingCache, FusionKind, InitialContextKind, Positions, ZeroContexts,
};

use crate::context_state::{ContextState, PieceContexts};
use crate::pick::pick;
use crate::token_table;

/// Everything that a model with caches remembers of the tokens before.
#[derive(Debug, Clone)]
pub(crate) struct Caches<C: DecodingCache> {
    /// One a block of the encoder; all blocks of a plain backbone.
    encoder: Vec<C>,
    /// One a block of the decoder.
    decoder: Vec<C>,
    /// Entries that the decoder has seen, of every row: its tokens, and under `interleave` the contexts between.
    entries: Vec<usize>,
    context: Option<ContextState>,
}

/// Entries of the decoder for `tokens` tokens, at most.
fn decoder_entries(settings: Option<&ContextConfig>, tokens: usize) -> usize {
    match settings {
        Some(settings) if settings.fusion == FusionKind::Interleave => tokens + tokens / settings.chunk_size + 1,
        _ => tokens,
    }
}

impl<C: DecodingCache> Caches<C> {
    /// Empty caches for `rows` sequences of at most `tokens` tokens; `None` if the backbone has none.
    pub fn new<B>(model: &ContextLm<B>, rows: usize, tokens: usize, device: &Device) -> Option<Self>
    where
        B: Backbone<Cache = C>,
    {
        let layers = model.backbone.spec().layers;
        let cut = model.settings().map_or(layers, |settings| settings.encoder_layers);
        let entries = decoder_entries(model.settings(), tokens);
        Some(Self {
            encoder: model.backbone.new_caches(0..cut, rows, tokens, device)?,
            decoder: model.backbone.new_caches(cut..layers, rows, entries, device)?,
            entries: vec![0; rows],
            context: model.context.as_ref().map(|path| ContextState::new(path, rows, tokens, device)),
        })
    }

    /// Runs a piece of tokens, which a row may have more or fewer of than the others, and none. Row r had `past[r]`
    /// tokens before. Gives the states before the final norm.
    ///
    /// # Shapes
    /// to [B, T, D], T the longest piece
    pub fn run<B>(&mut self, model: &ContextLm<B>, pieces: &[&[u32]], past: &[usize], device: &Device) -> Tensor<3>
    where
        B: Backbone<Cache = C>,
    {
        let backbone = &model.backbone;
        let layers = backbone.spec().layers;
        let counts: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
        let ids = |(past, count): (&usize, &usize)| (*past as i64..(*past + *count) as i64).collect();
        let ids: Vec<Vec<i64>> = past.iter().zip(&counts).map(ids).collect();
        let at = Positions::continued_rows(past, &ids, device);

        let cut = model.settings().map_or(layers, |settings| settings.encoder_layers);
        let embedded = backbone.embed(token_table(pieces, device), &at);
        let states = backbone.blocks(embedded, 0..cut, &at, Some(&mut self.encoder));
        let (Some(path), Some(settings), Some(context)) = (&model.context, model.settings(), &mut self.context) else {
            return states;
        };

        let made = context.advance(path, states.clone(), past, &counts);
        let fusion = &path.decoder.fusion;
        if fusion.kind() == FusionKind::Interleave && fusion.zeros() == ZeroContexts::All {
            return backbone.blocks(states, cut..layers, &at, Some(&mut self.decoder));
        }
        if settings.fusion == FusionKind::Interleave {
            return self.run_interleaved(backbone, settings, states, made, past);
        }
        let fused = fusion.of_tokens(states) + pick(made.contexts, &made.of_tokens);
        backbone.blocks(fused, cut..layers, &at, Some(&mut self.decoder))
    }

    /// The decoder with contexts as entries of their own.
    fn run_interleaved<B>(
        &mut self,
        backbone: &B,
        settings: &ContextConfig,
        states: Tensor<3>,
        made: PieceContexts,
        past: &[usize],
    ) -> Tensor<3>
    where
        B: Backbone<Cache = C>,
    {
        let (device, [_, length, _], w) = (states.device(), states.dims(), settings.chunk_size);
        let initial = settings.initial_context == InitialContextKind::Learned;
        let mut entries: Vec<Vec<usize>> = Vec::new(); // numbers of token states, and behind them of contexts
        let mut ids: Vec<Vec<i64>> = Vec::new();
        let mut tokens: Vec<Vec<usize>> = Vec::new(); // which entries are tokens
        for (&past, contexts) in past.iter().zip(&made.of_tokens) {
            let (mut row, mut row_ids, mut row_tokens) = (Vec::new(), Vec::new(), Vec::new());
            for (t, &context) in contexts.iter().enumerate() {
                let k = context_of(past + t, w);
                if first_position_of(k, w) == past + t && (k > 0 || initial) {
                    row.push(length + context);
                    row_ids.push((past + t) as i64);
                }
                row_tokens.push(row.len());
                row.push(t);
                row_ids.push((past + t) as i64);
            }
            entries.push(row);
            ids.push(row_ids);
            tokens.push(row_tokens);
        }

        let at = Positions::continued_rows(&self.entries, &ids, &device);
        for (held, new) in self.entries.iter_mut().zip(&entries) {
            *held += new.len();
        }
        let input = pick(Tensor::cat(vec![states, made.contexts], 1), &entries);
        let blocks = settings.encoder_layers..backbone.spec().layers;
        pick(backbone.blocks(input, blocks, &at, Some(&mut self.decoder)), &tokens)
    }

    /// The same content with other rows and room for `tokens` tokens.
    pub fn arranged<B>(&self, model: &ContextLm<B>, rows: &[usize], tokens: usize) -> Self
    where
        B: Backbone<Cache = C>,
    {
        let entries = decoder_entries(model.settings(), tokens);
        let context = model.context.as_ref().zip(self.context.as_ref());
        Self {
            encoder: self.encoder.iter().map(|cache| cache.arranged(rows, tokens)).collect(),
            decoder: self.decoder.iter().map(|cache| cache.arranged(rows, entries)).collect(),
            entries: rows.iter().map(|&row| self.entries[row]).collect(),
            context: context.map(|(path, context)| context.arranged(path, rows, tokens)),
        }
    }
}
