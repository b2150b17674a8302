use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use contextlm_embedding::ChunkGrid;
use contextlm_nn::{Init, Norm, NormConfig, apply, cast, keeps_bits, product};
use serde::{Deserialize, Serialize};

/// How a predicted context c enters the state h of a token that it guides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FusionKind {
    /// h + c.
    Add,
    /// norm(h) + norm(c), two norms of the backbone's kind.
    NormedAdd,
    /// h + g c, one scalar g.
    GatedAdd,
    /// h + W c + b, with W and b starting at 0.
    ProjectedAdd,
    /// W [h; c] + b, starting as h.
    Concat,
    /// c is an entry of its own before the first position that it guides; see [`Interleave`](crate::Interleave).
    Interleave,
}

/// Which contexts are zeros instead of a parameter or a prediction (`initial_context = "zero"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroContexts {
    /// None.
    None,
    /// The initial one, `c_hat[0]`.
    Initial,
    /// All: the initial one is everywhere (`source = "constant"`).
    All,
}

/// Settings of a fusion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FusionConfig {
    /// The kind.
    pub kind: FusionKind,
    /// Width of the states, D.
    pub width: usize,
    /// Norms of `normed_add`.
    pub norm: NormConfig,
    /// Where the scalar of `gated_add` starts; it is used as it is, without a sigmoid.
    pub gate_init: f32,
    /// Contexts that are zeros. They add nothing to a token state, no bias either; under `concat`, which maps both
    /// together, the bias stays.
    pub zeros: ZeroContexts,
}

/// The fusions that add: each is a map of the token states plus a map of the contexts.
///
/// Contexts go through their map before they are spread over the positions, once a chunk instead of once a token.
#[derive(Module, Debug)]
pub struct Fusion {
    /// `gated_add`: the scalar, `[1]`.
    pub gate: Option<Param<Tensor<1>>>,
    /// `normed_add`: norm of the token states.
    pub norm_tokens: Option<Norm>,
    /// `normed_add`: norm of the contexts.
    pub norm_context: Option<Norm>,
    /// `projected_add`: [D, D]; `concat`: [2D, D], the first D rows for the token state.
    pub proj: Option<Linear>,
    #[module(skip)]
    kind: FusionKind,
    #[module(skip)]
    zeros: ZeroContexts,
}

impl FusionConfig {
    /// Parameters at their starting values.
    pub fn init(&self, init: &Init, device: &Device) -> Fusion {
        let width = self.width;
        let norm =
            |name: &str| (self.kind == FusionKind::NormedAdd).then(|| self.norm.init(&init.at(name), width, device));
        let map = |weight: Param<Tensor<2>>| Linear { weight, bias: Some(init.constant([width], 0.0, device)) };
        Fusion {
            gate: (self.kind == FusionKind::GatedAdd).then(|| init.constant([1], self.gate_init, device)),
            norm_tokens: norm("norm_tokens"),
            norm_context: norm("norm_context"),
            proj: match self.kind {
                FusionKind::ProjectedAdd => Some(map(init.constant([width, width], 0.0, device))),
                FusionKind::Concat => {
                    let identity = move |i: usize| if i / width == i % width { 1.0 } else { 0.0 };
                    Some(map(init.from_fn([2 * width, width], identity, device)))
                }
                _ => None,
            },
            kind: self.kind,
            zeros: self.zeros,
        }
    }
}

impl Fusion {
    /// The kind.
    pub fn kind(&self) -> FusionKind {
        self.kind
    }

    /// Which contexts are zeros.
    pub fn zeros(&self) -> ZeroContexts {
        self.zeros
    }

    /// Adds to every token state the context that guides it.
    ///
    /// # Shapes
    /// h [B, T, D], c_hat [B, K+1, D] to [B, T, D]
    pub fn forward(&self, states: Tensor<3>, contexts: Tensor<3>, grid: &ChunkGrid) -> Tensor<3> {
        self.of_tokens(states) + grid.spread(self.of_all_contexts(contexts))
    }

    /// What contexts contribute to the sum, of which the first is the initial one.
    ///
    /// # Shapes
    /// c_hat [B, K+1, D] to [B, K+1, D]
    pub fn of_all_contexts(&self, contexts: Tensor<3>) -> Tensor<3> {
        self.without_zeros(self.of_contexts(contexts))
    }

    /// Takes out what a bias has made of contexts that are zeros, [B, K+1, D].
    fn without_zeros(&self, mapped: Tensor<3>) -> Tensor<3> {
        let [rows, count, width] = mapped.dims();
        match (self.kind, self.zeros) {
            (FusionKind::Concat, _) | (_, ZeroContexts::None) => mapped,
            (_, ZeroContexts::All) => mapped.zeros_like(),
            (_, ZeroContexts::Initial) => {
                let initial = Tensor::zeros([rows, 1, width], (&mapped.device(), mapped.dtype()));
                match count {
                    1 => initial,
                    _ => Tensor::cat(vec![initial, mapped.narrow(1, 1, count - 1)], 1),
                }
            }
        }
    }

    /// What a token state contributes to the sum.
    ///
    /// # Shapes
    /// h [B, T, D] to [B, T, D]
    pub fn of_tokens(&self, states: Tensor<3>) -> Tensor<3> {
        match (self.kind, &self.norm_tokens, &self.proj) {
            (FusionKind::NormedAdd, Some(norm), _) => norm.forward(states),
            (FusionKind::Concat, _, Some(proj)) => {
                let [width, _] = states_part(proj);
                let weight = proj.weight.val().narrow(0, 0, width);
                if keeps_bits(&weight) {
                    return product(states, weight);
                }
                // W h as h + (W - I) h: a fresh W leaves h as it is to the last bit, also where the product is of a lower
                // precision than h.
                let identity = cast(Tensor::eye(width, &weight.device()), weight.dtype());
                states.clone() + product(states, weight - identity)
            }
            _ => states,
        }
    }

    /// What a predicted context contributes to the sum, the same at every position that it guides; for
    /// [`Interleave`](FusionKind::Interleave) the context itself.
    ///
    /// # Shapes
    /// c_hat [B, K+1, D] to [B, K+1, D]
    pub fn of_contexts(&self, contexts: Tensor<3>) -> Tensor<3> {
        match (self.kind, &self.norm_context, &self.proj, &self.gate) {
            (FusionKind::NormedAdd, Some(norm), ..) => norm.forward(contexts),
            (FusionKind::GatedAdd, .., Some(gate)) => {
                let gate = cast(gate.val(), contexts.dtype());
                contexts * gate.unsqueeze()
            }
            (FusionKind::ProjectedAdd, _, Some(proj), _) => {
                let dtype = contexts.dtype();
                cast(apply(proj, contexts), dtype)
            }
            (FusionKind::Concat, _, Some(proj), _) => {
                let [width, _] = states_part(proj);
                let weight = proj.weight.val().narrow(0, width, width);
                let mapped = product(contexts, weight);
                match &proj.bias {
                    Some(bias) => {
                        let bias = cast(bias.val(), mapped.dtype());
                        mapped + bias.unsqueeze()
                    }
                    None => mapped,
                }
            }
            _ => contexts,
        }
    }
}

/// Shape of the half of `concat`'s weight that belongs to the token state.
fn states_part(proj: &Linear) -> [usize; 2] {
    let [rows, columns] = proj.weight.lazy_shape().dims();
    [rows / 2, columns]
}
