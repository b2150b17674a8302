"""The config of a ContextLM (arXiv 2510.20280): a backbone, and how contexts of chunks enter it."""

import transformers
from transformers import AutoConfig, PretrainedConfig

# Every key of `context` with the value that it has where a config leaves it out.
# `predictor_positions` is then `rotary` on a rotary backbone and `none` on any other.
CONTEXT = {
    "chunk_size": 4,
    "encoder_layers": 1,
    "pooling": "mean",
    "source": "predicted",
    "predictor_layers": 2,
    "predictor_positions": None,
    "predictor_norm": True,
    "fusion": "normed_add",
    "gate_init": 0.1,
    "initial_context": "learned",
}

CHOICES = {
    "pooling": ["mean", "last", "first", "max", "learned"],
    "source": ["predicted", "constant"],
    "predictor_positions": [None, "none", "rotary"],
    "fusion": ["add", "normed_add", "gated_add", "projected_add", "concat", "interleave"],
    "initial_context": ["learned", "zero"],
}

BACKBONES = ["gpt2", "gpt_neox", "llama", "mistral", "qwen2"]


class ContextLMConfig(PretrainedConfig):
    """
    Args:
        backbone (dict): the backbone's own Hugging Face config, with its `model_type`.
        context (dict): the choices above; `None` is the plain backbone.
    """

    model_type = "contextlm"

    def __init__(self, backbone=None, context=None, **kwargs):
        self.backbone = {"model_type": "gpt2"} if backbone is None else dict(backbone)
        self.context = None if context is None else read_context(context, self.backbone)
        tokens = {key: self.backbone.get(key) for key in ("bos_token_id", "eos_token_id")}  # `generate` stops at these
        tied = self.backbone_config.tie_word_embeddings
        super().__init__(**{"use_cache": False, **tokens, **kwargs, "tie_word_embeddings": tied})

    @property
    def backbone_config(self):
        """The backbone's config as an object of its own class."""
        settings = in_dialect(self.backbone)
        family = settings.pop("model_type", None)
        for key in ("dtype", "torch_dtype"):  # the type that the whole model is loaded in is the backbone's too
            settings.pop(key, None)
        if family not in BACKBONES:
            raise ValueError(f"backbone.model_type is {family!r}; must be one of {', '.join(BACKBONES)}")
        config = AutoConfig.for_model(family, **settings)
        window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        if window is not None and window < config.max_position_embeddings:
            raise ValueError(f"backbone.sliding_window is {window}; attention here is over all positions")
        return config

    # What tools ask a model's config for.
    vocab_size = property(lambda self: self.backbone_config.vocab_size)
    hidden_size = property(lambda self: self.backbone_config.hidden_size)
    num_hidden_layers = property(lambda self: self.backbone_config.num_hidden_layers)
    max_position_embeddings = property(lambda self: self.backbone_config.max_position_embeddings)


def read_context(context, backbone):
    """`context` with every key, or an error: a misspelt choice would be another model."""
    for key, value in context.items():
        if key not in CONTEXT:
            raise ValueError(f"context.{key} is unknown; the keys are {', '.join(CONTEXT)}")
        if value not in CHOICES.get(key, [value]):
            raise ValueError(f"context.{key} is {value!r}; must be one of {', '.join(map(str, CHOICES[key]))}")
    context = {**CONTEXT, **context}
    rotary = backbone.get("model_type") != "gpt2"
    if context["predictor_positions"] is None:
        context["predictor_positions"] = "rotary" if rotary else "none"
    if context["predictor_positions"] == "rotary" and not rotary:
        raise ValueError("context.predictor_positions is rotary, but the backbone has no rotary positions; use none")
    return context


def in_dialect(backbone):
    """A backbone's config for the version of transformers that runs: 5 reads what 4 wrote, 4 not what 5 wrote."""
    backbone = dict(backbone)
    if "rope_parameters" not in backbone or int(transformers.__version__.split(".")[0]) >= 5:
        return backbone
    rope = dict(backbone.pop("rope_parameters") or {})
    neox = backbone.get("model_type") == "gpt_neox"
    names = {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"} if neox else {}
    for key in ("rope_theta", "partial_rotary_factor"):
        if key in rope:
            backbone[names.get(key, key)] = rope.pop(key)
    if rope.get("rope_type", "default") != "default":
        backbone["rope_scaling"] = rope
    return backbone
