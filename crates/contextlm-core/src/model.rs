use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor};
use contextlm_backbone::{Backbone, Init, Positions};
use contextlm_decoder::{FusionConfig, FusionKind, TokenDecoder, ZeroContexts};
use contextlm_embedding::{ChunkGrid, ContextEmbedding, ContextEmbeddingConfig, InitialContext};
use contextlm_kernels::{CrossEntropy, CrossEntropyOptions, IGNORE_INDEX, linear_cross_entropy_parts, linear_int8};
use contextlm_nn::{Documents, cast, product};
use contextlm_predictor::{ContextPredictor, ContextPredictorConfig};

use crate::latent::latent_loss;
use crate::{AnyBackbone, ContextConfig, ContextLmError, InitialContextKind, LatentLoss, PredictorPositions, Source};

/// ContextLM: a backbone cut in two, and a model of the next chunk between the halves.
///
/// Without a context path it is the plain backbone.
#[derive(Module, Debug)]
pub struct ContextLm<B: Backbone = AnyBackbone> {
    /// The language model underneath.
    pub backbone: B,
    /// What makes it a ContextLM.
    pub context: Option<ContextPath>,
    #[module(skip)]
    settings: Option<ContextConfig>,
    /// The LM head [V, D] where its weights are of 8 bits.
    #[module(skip)]
    pub(crate) int8_head: Option<Tensor<2>>,
}

/// The parts of a ContextLM that its backbone does not have.
#[derive(Module, Debug)]
pub struct ContextPath {
    /// Chunks, pooling and the initial context.
    pub embedding: ContextEmbedding,
    /// The next-context predictor; absent with `source = "constant"`.
    pub predictor: Option<ContextPredictor>,
    /// Fusion, and the blocks after it.
    pub decoder: TokenDecoder,
}

/// What [`ContextLm::loss_with`] can be told beside tokens and targets.
#[derive(Debug, Clone, Default)]
pub struct LossOptions {
    /// Documents of a packed batch.
    pub documents: Option<Documents>,
    /// What the summed loss is divided by; the unignored targets if not given. With accumulation it is their number
    /// in the whole batch. Giving it also spares a read from the device.
    pub divisor: Option<f64>,
    /// Weight of the z-loss, the squared logarithm of every softmax's normaliser.
    pub z_loss: f64,
    /// Loss on the predicted contexts.
    pub latent_loss: LatentLoss,
    /// Its weight.
    pub latent_weight: f64,
    /// What the summed latent loss is divided by; the (document, chunk) pairs if not given.
    pub latent_divisor: Option<f64>,
    /// Contexts to use instead of the predicted ones, [B, K+1, D] as [`ContextLm::predicted_contexts`] gives them:
    /// with another text's, the loss shows how much the model relies on them.
    pub contexts: Option<Tensor<3>>,
}

/// A loss and its parts, each `[1]`.
#[derive(Debug, Clone)]
pub struct Loss {
    /// What is minimised.
    pub total: Tensor<1>,
    /// Cross-entropy, nats a target; to look at, it has no gradient.
    pub cross_entropy: Tensor<1>,
    /// Latent loss before its weight, if there is one.
    pub latent: Option<Tensor<1>>,
}

/// What one pass leaves behind.
struct Pass {
    /// Normed states, [B, T, D].
    states: Tensor<3>,
    /// Context embeddings and predictions, [B, K, D] each, where the predictor ran.
    contexts: Option<(Tensor<3>, Tensor<3>)>,
}

impl<B: Backbone> ContextLm<B> {
    /// The plain backbone.
    pub fn plain(backbone: B) -> Self {
        Self { backbone, context: None, settings: None, int8_head: None }
    }

    /// A ContextLM on any backbone, with fresh context parts from seed 0.
    ///
    /// # Errors
    /// [`ContextLmError::Context`] where the settings do not fit the backbone.
    pub fn wrap(backbone: B, context: ContextConfig, device: &Device) -> Result<Self, ContextLmError> {
        Self::wrap_seeded(backbone, context, 0, device)
    }

    /// A ContextLM on any backbone, with fresh context parts.
    ///
    /// # Errors
    /// [`ContextLmError::Context`] where the settings do not fit the backbone.
    pub fn wrap_seeded(
        backbone: B,
        context: ContextConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ContextLmError> {
        let spec = backbone.spec();
        context.validate(&spec, backbone.supports_extra_entries())?;
        spec.predictor_block.validate().map_err(|error| ContextLmError::Backbone(error.into()))?;

        let init = Init::new(seed).at("context");
        let mut block = spec.predictor_block.clone();
        if context.positions(&spec) == PredictorPositions::None {
            block.rotary = None;
        }
        let norm = block.norm;
        let predicted = context.source == Source::Predicted;
        // A norm of zeros has a gradient of 1/sqrt(eps), so a context that meets a norm does not start at zero.
        let normed = matches!(context.fusion, FusionKind::NormedAdd | FusionKind::Interleave);
        let initial = match context.initial_context {
            InitialContextKind::Learned => InitialContext::Learned { std: if normed { 1.0 } else { 0.0 } },
            InitialContextKind::Zero => InitialContext::Zero,
        };

        let embedding = ContextEmbeddingConfig {
            width: spec.width,
            chunk_size: context.chunk_size,
            pooling: predicted.then_some(context.pooling),
            initial,
        };
        let predictor =
            ContextPredictorConfig { block, layers: context.predictor_layers, norm: context.predictor_norm };
        let zeros = match context.initial_context {
            InitialContextKind::Learned => ZeroContexts::None,
            InitialContextKind::Zero if predicted => ZeroContexts::Initial,
            InitialContextKind::Zero => ZeroContexts::All,
        };
        let fusion =
            FusionConfig { kind: context.fusion, width: spec.width, norm, gate_init: context.gate_init, zeros };
        let initial_entry = context.initial_context == InitialContextKind::Learned;
        let path = ContextPath {
            embedding: embedding.init(&init, device),
            predictor: predicted.then(|| predictor.init(&init.at("predictor"), device)),
            decoder: TokenDecoder::new(fusion.init(&init.at("fusion"), device), context.encoder_layers, initial_entry),
        };
        let settings = ContextConfig { predictor_positions: Some(context.positions(&spec)), ..context };
        Ok(Self { backbone, context: Some(path), settings: Some(settings), int8_head: None })
    }

    /// The LM head of a model with weights of 8 bits ([`quantize_int8`](Self::quantize_int8)), quantized, [V, D]; `None` of
    /// other models.
    pub fn int8_head(&self) -> Option<Tensor<2>> {
        self.int8_head.clone()
    }

    /// The context settings, every one written out; `None` for a plain backbone.
    pub fn settings(&self) -> Option<&ContextConfig> {
        self.settings.as_ref()
    }

    /// Logits of the next token at every position, f32.
    ///
    /// # Shapes
    /// tokens [B, T] to [B, T, V]
    ///
    /// # Panics
    /// If there are no tokens, a token is not below V, or T is above the backbone's learned positions.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let at = positions(&tokens, None);
        let embedded = self.backbone.embed(tokens, &at);
        self.forward_embedded(embedded, &at)
    }

    /// Logits of a packed batch, in which every document is as if it were alone.
    ///
    /// # Shapes
    /// tokens [B, T] to [B, T, V]
    ///
    /// # Panics
    /// As [`forward`](Self::forward), and if the documents are not for [B, T].
    pub fn forward_packed(&self, tokens: Tensor<2, Int>, documents: &Documents) -> Tensor<3> {
        let at = positions(&tokens, Some(documents));
        let embedded = self.backbone.embed(tokens, &at);
        self.forward_embedded(embedded, &at)
    }

    /// Logits from embedded tokens ([`Backbone::embed`]).
    ///
    /// # Shapes
    /// x [B, T, D] to [B, T, V]
    pub fn forward_embedded(&self, x: Tensor<3>, at: &Positions) -> Tensor<3> {
        self.logits(self.run(x, at, None).states)
    }

    /// Logits from normed states, f32.
    ///
    /// # Shapes
    /// [B, T, D] to [B, T, V]
    pub fn logits(&self, states: Tensor<3>) -> Tensor<3> {
        let states = cast(states, DType::F32);
        match &self.int8_head {
            Some(head) => linear_int8(states, head.clone(), None),
            None => product(states, self.backbone.head().transpose()),
        }
    }

    /// Normed states, f32, which the head makes logits of; for who needs logits of few positions at a time.
    ///
    /// # Shapes
    /// tokens [B, T] to [B, T, D]
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn hidden_states(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let at = positions(&tokens, None);
        let embedded = self.backbone.embed(tokens, &at);
        self.run(embedded, &at, None).states
    }

    /// Mean cross-entropy in nats over the targets that are not -100.
    ///
    /// # Shapes
    /// tokens and targets [B, T] to `[1]`; `targets` are shifted already: `targets[t]` follows `tokens[t]`
    ///
    /// # Panics
    /// As [`forward`](Self::forward), and if a target is neither -100 nor below V.
    pub fn loss(&self, tokens: Tensor<2, Int>, targets: Tensor<2, Int>) -> Tensor<1> {
        self.loss_with(tokens, targets, &LossOptions::default()).total
    }

    /// The loss with its options, in parts.
    ///
    /// # Shapes
    /// As [`loss`](Self::loss)
    ///
    /// # Panics
    /// As [`loss`](Self::loss).
    pub fn loss_with(&self, tokens: Tensor<2, Int>, targets: Tensor<2, Int>, options: &LossOptions) -> Loss {
        let [rows, length] = tokens.dims();
        let at = positions(&tokens, options.documents.as_ref());
        let embedded = self.backbone.embed(tokens, &at);
        let pass = self.run(embedded, &at, options.contexts.clone());

        let [.., width] = pass.states.dims();
        let targets = targets.reshape([rows * length]);
        let divisor = options.divisor.unwrap_or_else(|| unignored(targets.clone()));
        let head = self.backbone.head();
        let CrossEntropy { total, cross_entropy } = linear_cross_entropy_parts(
            cast(pass.states.reshape([rows * length, width]), head.dtype()),
            head,
            targets,
            CrossEntropyOptions { divisor, z_loss: options.z_loss, ..CrossEntropyOptions::default() },
        );
        let latent = pass.contexts.zip(self.context.as_ref()).and_then(|((chunks, predicted), path)| {
            let grid = ChunkGrid::at(&at, path.embedding.chunk_size());
            let divisor = options.latent_divisor.unwrap_or_else(|| grid.predicted_chunks(rows) as f64);
            latent_loss(options.latent_loss, predicted, chunks, &grid, divisor)
        });
        let total = match &latent {
            Some(latent) => total + latent.clone().mul_scalar(options.latent_weight),
            None => total,
        };
        Loss { total, cross_entropy, latent }
    }

    /// The contexts that guide the tokens: `c_hat[0]` is the initial one, `c_hat[k]` the prediction of chunk k from
    /// the chunks before it. `None` for a plain backbone.
    ///
    /// # Shapes
    /// tokens [B, T] to [B, K+1, D], K = floor(T / w)
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn predicted_contexts(&self, tokens: Tensor<2, Int>) -> Option<Tensor<3>> {
        let path = self.context.as_ref()?;
        let at = positions(&tokens, None);
        let grid = ChunkGrid::at(&at, path.embedding.chunk_size());
        let states = self.encode(self.backbone.embed(tokens, &at), &at);
        Some(path.contexts(states, &grid).0)
    }

    /// The first `encoder_layers` blocks.
    fn encode(&self, x: Tensor<3>, at: &Positions) -> Tensor<3> {
        let layers = self.settings.as_ref().map_or(0, |settings| settings.encoder_layers);
        self.backbone.blocks(x, 0..layers, at, None)
    }

    /// Token encoder, context path and token decoder, and the final norm.
    fn run(&self, x: Tensor<3>, at: &Positions, given: Option<Tensor<3>>) -> Pass {
        let Some(path) = &self.context else {
            let states = self.backbone.blocks(x, 0..self.backbone.spec().layers, at, None);
            return Pass { states: self.backbone.norm(states), contexts: None };
        };
        let grid = ChunkGrid::at(at, path.embedding.chunk_size());
        let states = self.encode(x, at);
        let (predicted, contexts) = match given {
            Some(given) => (given, None),
            None => path.contexts(states.clone(), &grid),
        };
        let states = path.decoder.forward(&self.backbone, states, predicted, &grid, at);
        Pass { states: self.backbone.norm(states), contexts }
    }
}

impl ContextPath {
    /// The contexts for every chunk, [B, K+1, D], and what they were made from: context embeddings and
    /// predictions, [B, K, D] each, where there is a complete chunk and a predictor.
    #[allow(clippy::type_complexity)] // one caller beside `run`; a struct would be read once
    fn contexts(&self, states: Tensor<3>, grid: &ChunkGrid) -> (Tensor<3>, Option<(Tensor<3>, Tensor<3>)>) {
        let device = states.device();
        let [rows, _, width] = states.dims();
        let Some(predictor) = &self.predictor else {
            let initial = self.embedding.initial(rows, &device);
            return (initial.expand([rows, grid.chunks() + 1, width]), None);
        };
        let made = self.embedding.forward(states, grid).map(|chunks| {
            let predicted = predictor.forward(chunks.clone(), &grid.positions(&device));
            (chunks, predicted)
        });
        let predicted = made.as_ref().map(|(_, predicted)| predicted.clone());
        (self.embedding.shift(predicted, rows, &device), made)
    }
}

fn positions(tokens: &Tensor<2, Int>, documents: Option<&Documents>) -> Positions {
    let [rows, length] = tokens.dims();
    assert!(rows > 0 && length > 0, "no tokens: [B, T] is [{rows}, {length}]");
    match documents {
        None => Positions::causal(length, &tokens.device()),
        Some(documents) => {
            let given = [documents.rows(), documents.length()];
            assert_eq!(given, [rows, length], "the documents are for other tokens");
            Positions::packed(documents.clone(), &tokens.device())
        }
    }
}

/// Number of targets that count; 1 where there is none, so that the loss is 0 and not NaN.
fn unignored(targets: Tensor<1, Int>) -> f64 {
    let count: i64 = targets.not_equal_elem(IGNORE_INDEX).int().sum().into_scalar();
    count.max(1) as f64
}
