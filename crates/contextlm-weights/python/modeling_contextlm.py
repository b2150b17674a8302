"""ContextLM (arXiv 2510.20280, Figure 2 and Algorithm 1) in PyTorch.

A causal language model of L blocks is cut in two, and a small model of the next chunk is put between the halves:

    tokens -> token encoder E -> h -> context embedding -> c -> context predictor P -> p
                               |                                                     | shift by one chunk
                               +--------------------> fusion <- c_hat <--------------+
                                                        |
                                                token decoder D -> final norm and LM head -> logits

Letters: B rows, T tokens in a row, D width, V vocabulary, w tokens in a chunk, K = T // w complete chunks.

This is the reference, for reading and for running a trained model: everything is recomputed for every new token, there
is no cache. Blocks, norms and rotary angles are those of `transformers`, and so are their names in the file.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .configuration_contextlm import ContextLMConfig

# Where a backbone keeps its parts: the model, and in it embedding, blocks and final norm; beside it the LM head.
PARTS = {
    "gpt2": ("transformer", "wte", "h", "ln_f", "lm_head"),
    "gpt_neox": ("gpt_neox", "embed_in", "layers", "final_layer_norm", "embed_out"),
    "llama": ("model", "embed_tokens", "layers", "norm", "lm_head"),
    "mistral": ("model", "embed_tokens", "layers", "norm", "lm_head"),
    "qwen2": ("model", "embed_tokens", "layers", "norm", "lm_head"),
}


class Linear(nn.Module):
    """A linear map that keeps the weight it was made with; the backbone's rule would draw it at random."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight)  # [out, in]
        self.bias = nn.Parameter(torch.zeros(len(weight))) if bias else None

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


class Predictor(nn.Module):
    """Context predictor P: a causal transformer over chunks, of the backbone's kind of block, then its norm."""

    def __init__(self, config, block, norm):
        super().__init__()
        context, backbone = config.context, config.backbone_config
        backbone._attn_implementation = config._attn_implementation
        self.layers = nn.ModuleList(type(block)(backbone, layer_idx=0) for _ in range(context["predictor_layers"]))
        self.norm = copy.deepcopy(norm) if context["predictor_norm"] else nn.Identity()


class Fusion(nn.Module):
    """How a context enters a token's state. `interleave` has no parameters and is not here: see `interleave`."""

    def __init__(self, config, norm):
        super().__init__()
        self.kind, width = config.context["fusion"], config.hidden_size
        if self.kind == "normed_add":
            self.norm_tokens, self.norm_context = copy.deepcopy(norm), copy.deepcopy(norm)
        elif self.kind == "gated_add":
            self.gate = nn.Parameter(torch.full((1,), float(config.context["gate_init"])))
        elif self.kind == "projected_add":
            self.proj = Linear(torch.zeros(width, width), bias=True)
        elif self.kind == "concat":
            self.proj = Linear(torch.eye(width, 2 * width), bias=True)

    def forward(self, h, c, there):
        """`there` [T, 1] is false at positions whose context is the initial one and zero: they get h, without bias."""
        nothing = torch.zeros_like(h)
        if self.kind == "add":
            return h + c
        if self.kind == "normed_add":
            return self.norm_tokens(h) + torch.where(there, self.norm_context(c), nothing)
        if self.kind == "gated_add":
            return h + self.gate * c
        if self.kind == "projected_add":
            return h + torch.where(there, self.proj(c), nothing)
        return self.proj(torch.cat([h, c], dim=-1))


class ContextPath(nn.Module):
    """All that a ContextLM has and its backbone has not: `context.*` in the file."""

    def __init__(self, config, block, norm):
        super().__init__()
        context, w, width = config.context, config.context["chunk_size"], config.hidden_size
        if context["initial_context"] == "learned":
            # The norm of a zero vector has a gradient of 1/sqrt(eps), so that it does not start at 0 before a norm.
            normed = context["fusion"] in ("normed_add", "interleave")
            self.initial = nn.Parameter(torch.randn(width) if normed else torch.zeros(width))
        if context["source"] == "predicted":
            if context["pooling"] == "learned":  # starts as the mean
                self.pool = Linear(torch.eye(width).repeat(1, w) / w, bias=False)
            self.predictor = Predictor(config, block, norm)
        if context["fusion"] != "interleave":
            self.fusion = Fusion(config, norm)


def embed_contexts(h, w, pooling, learned=None):
    """Context embedding: token states h [B, T, D] -> c [B, K, D]. An incomplete last chunk is left out."""
    batch, tokens, width = h.shape
    chunks = h[:, : tokens // w * w].reshape(batch, tokens // w, w, width)
    if pooling == "mean":
        return chunks.mean(dim=2)
    if pooling == "max":
        return chunks.max(dim=2).values  # of equal values, the first takes the gradient
    if pooling == "learned":
        return learned(chunks.flatten(2))  # the w states of a chunk one after the other, oldest first
    return chunks[:, :, {"first": 0, "last": -1}[pooling]]


def interleave(h, contexts, which, w):
    """Puts contexts between the tokens, each before the first position that it guides.

    h [B, T, D], contexts [B, N, D], which [N]: the chunk k that a context is for.
    -> entries [B, T+N, D], their position ids [T+N], and which of them are tokens [T+N].
    """
    positions = torch.arange(h.shape[1], device=h.device)
    guides = (which * w - 1).clamp(min=0)  # [N], the position a context goes right before
    order = torch.cat([2 * guides, 2 * positions + 1]).argsort()
    entries = torch.cat([contexts, h], dim=1)[:, order]
    return entries, torch.cat([guides, positions])[order], order >= len(which)


def run(blocks, x, rotary=None, ids=None):
    """Runs blocks on x [B, N, D], whose position ids are ids [N]. Attention is causal by order, never by position id."""
    entries = x.shape[1]
    mask = torch.full((entries, entries), torch.finfo(x.dtype).min, dtype=x.dtype, device=x.device).triu(1)
    settings = {"attention_mask": mask[None, None]}
    if rotary is not None:
        settings["position_embeddings"] = rotary(x, ids[None])
    for block in blocks:
        x = block(x, **settings)
        x = x[0] if isinstance(x, tuple) else x
    return x


class ContextLMForCausalLM(PreTrainedModel, GenerationMixin):
    """A ContextLM, or the plain backbone where the config has no `context`.

    `generate` works without a cache (as with `use_cache=False`): every step recomputes the whole row. Rows of a batch
    must be of equal length or padded on the right, since a chunk begins at every w-th entry of a row.

    Fresh weights are the backbone's own initialisation, contexts start as the configuration says; only the predictor's
    residual projections are scaled by the backbone's number of layers and not by the predictor's.
    """

    config_class = ContextLMConfig
    _supports_sdpa = True

    def __init__(self, config):
        super().__init__(config)
        settings = config.backbone_config
        self.parts = PARTS[settings.model_type]
        name, _, blocks, norm, head = self.parts
        attention = {"attn_implementation": config._attn_implementation}
        backbone = AutoModel.from_config(settings, **attention)
        setattr(self, name, backbone)
        if not settings.tie_word_embeddings:
            setattr(self, head, nn.Linear(config.hidden_size, config.vocab_size, bias=False))
        self.context = None
        if config.context is not None:
            self.context = ContextPath(config, getattr(backbone, blocks)[0], getattr(backbone, norm))
        self.post_init()

    @property
    def backbone(self):
        """The backbone without its LM head."""
        return getattr(self, self.parts[0])

    def _init_weights(self, module):
        self.backbone._init_weights(module)

    def get_input_embeddings(self):
        return getattr(self.backbone, self.parts[1])

    def get_output_embeddings(self):
        return getattr(self, self.parts[4], None)

    def embed(self, tokens):
        """Token embedding, with GPT-2 also that of the position: tokens [B, T] -> [B, T, D]."""
        x = self.get_input_embeddings()(tokens)
        if hasattr(self.backbone, "wpe"):
            x = x + self.backbone.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        dropout = getattr(self.backbone, "drop", None) or getattr(self.backbone, "emb_dropout", None)
        return x if dropout is None else dropout(x)

    def predict_contexts(self, h):
        """Token states h [B, T, D] -> predicted contexts c_hat [B, K+1, D], and which of them are there [K+1].

        c_hat[0] is the initial context, c_hat[k] the prediction of chunk k from the chunks before it. Not there is an
        initial context that is zero.
        """
        context, path, w = self.config.context, self.context, self.config.context["chunk_size"]
        batch, tokens, width = h.shape
        count = tokens // w
        learned = context["initial_context"] == "learned"
        initial = path.initial if learned else h.new_zeros(width)
        if context["source"] == "constant":
            there = torch.full((count + 1,), learned, device=h.device)
            return initial.expand(batch, count + 1, width), there
        there = torch.arange(count + 1, device=h.device) >= (0 if learned else 1)
        c = embed_contexts(h, w, context["pooling"], getattr(path, "pool", None))
        if count > 0:
            ids = torch.arange(count, device=h.device) * w  # a chunk is where its first token is
            if context["predictor_positions"] == "none":
                ids = torch.zeros_like(ids)  # at position 0, nothing is rotated
            c = run(path.predictor.layers, c, getattr(self.backbone, "rotary_emb", None), ids)
        p = path.predictor.norm(c)
        return torch.cat([initial.expand(batch, 1, width), p], dim=1), there

    def hidden_states(self, tokens):
        """Tokens [B, T] -> states before the final norm [B, T, D]."""
        rotary, blocks = getattr(self.backbone, "rotary_emb", None), getattr(self.backbone, self.parts[2])
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embed(tokens)
        if self.context is None:
            return run(blocks, x, rotary, positions)
        context, w = self.config.context, self.config.context["chunk_size"]
        encoder, decoder = blocks[: context["encoder_layers"]], blocks[context["encoder_layers"] :]

        h = run(encoder, x, rotary, positions)
        c_hat, there = self.predict_contexts(h)
        if context["fusion"] == "interleave":
            which = there.nonzero().flatten()
            which = which[which > 0] if w == 1 else which  # the initial context guides no position then
            entries, ids, is_token = interleave(h, c_hat[:, which], which, w)
            return run(decoder, entries, rotary, ids)[:, is_token]
        # The position rule: position t predicts token t+1, which lies in chunk (t+1) // w.
        which = (positions + 1) // w
        fused = self.context.fusion(h, c_hat[:, which], there[which, None])
        return run(decoder, fused, rotary, positions)

    def forward(self, input_ids, attention_mask=None, labels=None, **kwargs):
        """Tokens [B, T] -> logits [B, T, V]; with `labels` [B, T] (not shifted, -100 is ignored) also the loss."""
        if attention_mask is not None and not attention_mask[:, 0].all():
            raise ValueError("rows padded on the left would shift the chunks: pad on the right, or give rows one by one")
        x = getattr(self.backbone, self.parts[3])(self.hidden_states(input_ids))
        head = self.get_output_embeddings() or self.get_input_embeddings()  # tied without a head of its own
        logits = F.linear(x, head.weight)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=logits.shape[-1], **kwargs)
        return CausalLMOutput(loss=loss, logits=logits)

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **kwargs):
        """The whole row at every step, whether or not a cache was asked for."""
        return {"input_ids": input_ids, "attention_mask": attention_mask}
