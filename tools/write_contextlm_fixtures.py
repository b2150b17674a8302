"""Writes the small ContextLM models and reference values that contextlm-weights is tested with.

    pip install torch==2.9.0 transformers==4.57.1 safetensors==0.8.0 numpy
    python tools/write_contextlm_fixtures.py crates/contextlm-weights/tests/fixtures/contextlm

The values come from `crates/contextlm-weights/python/modeling_contextlm.py`, which was written from the definition of
the model and not from the Rust code. Every folder is a model directory with every parameter random (fresh contexts are
zero and fresh norms one, which would hide much), and `expected.safetensors`: `tokens` [2, T], `logits` [2, T, V], `loss`
(mean cross-entropy of every token but the first of a row), and `grad.NAME` for every parameter, zeros for one that the
loss does not depend on.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1] / "crates/contextlm-weights"))
from python.configuration_contextlm import ContextLMConfig  # noqa: E402
from python.modeling_contextlm import ContextLMForCausalLM  # noqa: E402

VOCABULARY, WIDTH, POSITIONS = 41, 16, 12


def gpt2(**settings):
    config = dict(model_type="gpt2", vocab_size=VOCABULARY, n_positions=POSITIONS, n_embd=WIDTH, n_layer=2, n_head=2)
    config |= dict(n_inner=24, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    return {**config, **settings}


def other(model_type, **settings):
    config = dict(model_type=model_type, vocab_size=VOCABULARY, max_position_embeddings=POSITIONS, hidden_size=WIDTH)
    config |= dict(num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, tie_word_embeddings=False)
    return {**config, **settings}


def neox(**settings):
    return other("gpt_neox", **{"rotary_pct": 0.5, **settings})


def llama(model_type="llama", **settings):
    return other(model_type, **{"num_attention_heads": 4, "num_key_value_heads": 1, **settings})


LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
LLAMA3 |= dict(original_max_position_embeddings=8)

# Name: tokens in a row, backbone, context. A key that is missing has its default: chunks of 4 tokens, one encoder layer,
# mean, two predictor layers and a norm, normed_add, learned initial context.
CASES = {
    "gpt2_add_mean": (12, gpt2(), dict(fusion="add")),
    "gpt2_normed_add_learned": (11, gpt2(), dict(chunk_size=3, pooling="learned")),
    "gpt2_gated_add_last_no_encoder": (12, gpt2(), dict(fusion="gated_add", pooling="last", chunk_size=2, encoder_layers=0)),
    "gpt2_projected_add_first_all_encoder": (
        12,
        gpt2(),
        dict(fusion="projected_add", pooling="first", chunk_size=5, encoder_layers=2),
    ),
    "gpt2_concat_max_untied": (10, gpt2(tie_word_embeddings=False), dict(fusion="concat", pooling="max")),
    "gpt2_interleave_mean": (POSITIONS, gpt2(), dict(fusion="interleave")),
    "gpt2_interleave_each_token": (7, gpt2(), dict(fusion="interleave", chunk_size=1, encoder_layers=0)),
    "gpt2_constant": (12, gpt2(), dict(source="constant")),
    "gpt2_projected_add_zero": (11, gpt2(), dict(fusion="projected_add", initial_context="zero", chunk_size=3)),
    "gpt2_no_predictor_layers": (12, gpt2(), dict(predictor_layers=0)),
    "neox_defaults": (12, neox(), {}),
    "neox_add_max_no_norm": (11, neox(), dict(fusion="add", pooling="max", chunk_size=2, predictor_norm=False)),
    "neox_normed_add_zero": (9, neox(), dict(initial_context="zero", encoder_layers=0)),
    "neox_gated_add_learned_zero": (
        12,
        neox(),
        dict(fusion="gated_add", pooling="learned", chunk_size=3, initial_context="zero", predictor_layers=1),
    ),
    "neox_projected_add_last_each_token": (
        6,
        neox(),
        dict(fusion="projected_add", pooling="last", chunk_size=1, predictor_layers=1),
    ),
    "neox_concat_first_no_positions": (
        12,
        neox(num_hidden_layers=3),
        dict(fusion="concat", pooling="first", chunk_size=2, predictor_positions="none", encoder_layers=2),
    ),
    "neox_concat_zero": (7, neox(), dict(fusion="concat", initial_context="zero", chunk_size=5)),
    "neox_interleave_learned": (12, neox(), dict(fusion="interleave", pooling="learned", chunk_size=3, encoder_layers=0)),
    "neox_interleave_zero": (
        11,
        neox(use_parallel_residual=False, rotary_pct=1.0),
        dict(fusion="interleave", initial_context="zero", chunk_size=5, predictor_layers=0, predictor_norm=False),
    ),
    "neox_interleave_constant": (10, neox(), dict(fusion="interleave", source="constant")),
    "neox_shorter_than_a_chunk": (4, neox(), dict(chunk_size=5, predictor_layers=1)),
    "llama_normed_add": (12, llama(), {}),
    "llama_concat_max_tied": (11, llama(tie_word_embeddings=True), dict(fusion="concat", pooling="max", chunk_size=3)),
    "llama_interleave_scaled": (
        12,
        llama(rope_theta=500.0, rope_scaling=LLAMA3),
        dict(fusion="interleave", chunk_size=2, pooling="learned"),
    ),
    "llama_gated_add_no_positions": (
        9,
        llama(attention_bias=True, mlp_bias=True),
        dict(fusion="gated_add", pooling="last", predictor_positions="none", initial_context="zero"),
    ),
    "mistral_projected_add": (
        12,
        llama("mistral", head_dim=6, sliding_window=None),
        dict(fusion="projected_add", pooling="first", chunk_size=5, encoder_layers=0),
    ),
    "qwen2_add_no_norm": (10, llama("qwen2"), dict(fusion="add", predictor_norm=False, encoder_layers=2)),
}


def write_model(folder: Path, backbone: dict, context: dict):
    """A model directory with every parameter random; the model is given back."""
    folder.mkdir(parents=True, exist_ok=True)
    config = dict(model_type="contextlm", architectures=["ContextLMForCausalLM"], backbone=backbone, context=context)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    model = ContextLMForCausalLM(ContextLMConfig(backbone=backbone, context=context)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = ("ln_" in name or "norm" in name) and name.endswith("weight")
            parameter.normal_(1.0 if norm else 0.0, 0.2)
    save_file({name: value.detach() for name, value in model.named_parameters()}, folder / "model.safetensors")
    return model


def write(folder: Path, tokens: int, backbone: dict, context: dict):
    model = write_model(folder, backbone, context)
    tokens = torch.randint(VOCABULARY, (2, tokens))
    output = model(tokens, labels=tokens)
    output.loss.backward()
    parameters = dict(model.named_parameters())
    expected = {"tokens": tokens.to(torch.int32), "logits": output.logits.detach(), "loss": output.loss.detach().reshape(1)}
    for name, parameter in parameters.items():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        expected[f"grad.{name}"] = gradient.detach().contiguous()
    save_file(expected, folder / "expected.safetensors")
    unused = [name for name in parameters if not expected[f"grad.{name}"].any()]
    print(f"{folder.name}: loss {output.loss.item():.4f}", f"without effect: {', '.join(unused)}" if unused else "")


def main():
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    for seed, (name, case) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        write(Path(sys.argv[1]) / name, *case)


if __name__ == "__main__":
    main()
