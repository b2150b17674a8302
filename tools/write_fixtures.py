"""Writes the checkpoints and reference values that contextlm-weights and contextlm-train are tested with.

    pip install torch==2.9.0 transformers==4.57.1 safetensors==0.8.0 numpy
    python tools/write_fixtures.py crates/contextlm-weights/tests/fixtures

and, in a second environment, the folders whose names begin with v5, in the newer dialect of config.json:

    pip install torch==2.9.0 transformers==5.24.0 safetensors==0.8.0 numpy
    python tools/write_fixtures.py crates/contextlm-weights/tests/fixtures

Every folder is a model directory as `transformers` saves it, with every parameter random (a fresh model has zero biases
and norms of one, which would hide a wrong name), and `expected.safetensors`: `tokens` [2, T] of the maximum length,
`logits` [2, T, V], `loss` (mean cross-entropy of every token but the first of a row), `grad.NAME` for every parameter,
and `losses` [3]: that loss before each of three steps of AdamW with clipping (see `train`).

`values` has no model: tensors of bf16 and f16 with every kind of value, and what PyTorch converts them to in f32.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

VOCABULARY, POSITIONS = 61, 12
VERSION = int(transformers.__version__.split(".")[0])


def gpt2(**settings):
    config = dict(vocab_size=VOCABULARY, n_positions=POSITIONS, n_embd=24, n_layer=2, n_head=2)
    config |= dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    return GPT2LMHeadModel(GPT2Config(**{**config, **settings}))


def rotary(old: dict, new: dict) -> dict:
    """Rotary settings in the spelling of this version of transformers."""
    return old if VERSION < 5 else {"rope_parameters": {"rope_type": "default", **new}}


def neox(share=0.25, **settings):
    config = dict(
        vocab_size=VOCABULARY,
        max_position_embeddings=POSITIONS,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=96,
        tie_word_embeddings=False,
    )
    config |= rotary({"rotary_pct": share}, {"partial_rotary_factor": share, "rope_theta": 10000.0})
    return GPTNeoXForCausalLM(GPTNeoXConfig(**{**config, **settings}))


FAMILY = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
}


def llama(kind="llama", theta=10000.0, scaling=None, **settings):
    config = dict(
        vocab_size=VOCABULARY,
        max_position_embeddings=POSITIONS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=40,
        tie_word_embeddings=False,
    )
    old = {"rope_theta": theta, "rope_scaling": scaling}
    config |= rotary(old, {"rope_theta": theta, **(scaling or {})})
    make_config, make_model = FAMILY[kind]
    return make_model(make_config(**{**config, **settings}))


# With an original length of 8, a head of 16 and this theta, the first frequency has 1.3 turns, between both limits, and the
# others have fewer than the lower one.
LLAMA3 = dict(
    rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8
)


def scaled(original=8, **settings):
    scaling = LLAMA3 | {"original_max_position_embeddings": original}
    heads = dict(num_attention_heads=2, num_key_value_heads=1)
    return llama(scaling=scaling, theta=100.0, max_position_embeddings=48, **heads, **settings)


def scaled_fast():
    """Four times the length, in which the first frequency has 5.1 turns, more than the upper limit, and stays as it is."""
    return scaled(num_hidden_layers=1, original=32)


CASES = {
    "gpt2": gpt2,
    "gpt2_odd_head": lambda: gpt2(n_embd=15, n_head=3, n_inner=40, activation_function="gelu"),
    "neox": neox,
    "neox_serial": lambda: neox(share=1.0, num_attention_heads=2, use_parallel_residual=False),
    "neox_tied": lambda: neox(tie_word_embeddings=True, attention_bias=False, num_hidden_layers=1),
    "llama": lambda: llama(num_key_value_heads=1, tie_word_embeddings=True),
    "llama_scaled": scaled,
    "llama_biased": lambda: llama(attention_bias=True, mlp_bias=True, head_dim=6),
    "mistral": lambda: llama("mistral", sliding_window=None, head_dim=12),
    "qwen2": lambda: llama("qwen2", tie_word_embeddings=True, rms_norm_eps=1e-5),
    "llama_scaled_fast": scaled_fast,
}
CASES_OF_5 = {
    "v5_gpt2": lambda: gpt2(n_layer=1),
    "v5_neox": lambda: neox(share=0.5, num_hidden_layers=1),
    "v5_llama": lambda: scaled(num_hidden_layers=1),
    "v5_mistral": lambda: llama("mistral", theta=500.0, sliding_window=None, num_hidden_layers=1),
    "v5_qwen2": lambda: llama("qwen2", theta=500.0, num_hidden_layers=1),
}


def loss_of(model, tokens):
    logits = model(tokens).logits
    return logits, F.cross_entropy(logits[:, :-1].reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))


def train(model, tokens):
    """Losses before each of three steps; decay on matrices and embeddings, on no vector."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        _, loss = loss_of(model, tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def write(folder: Path, model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = ("ln_" in name or "norm" in name) and name.endswith("weight")
            parameter.normal_(1.0 if norm else 0.0, 0.2)
    model.eval()
    tokens = torch.randint(VOCABULARY, (2, model.config.max_position_embeddings))
    logits, loss = loss_of(model, tokens)
    loss.backward()
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    expected = {f"grad.{name}": parameter.grad.clone() for name, parameter in model.named_parameters()}
    expected |= {"tokens": tokens.to(torch.int32), "logits": logits, "loss": loss.reshape(1)}
    expected["losses"] = train(model, tokens)
    save_file({name: value.detach().contiguous() for name, value in expected.items()}, folder / "expected.safetensors")
    losses = " ".join(f"{value:.4f}" for value in expected["losses"].tolist())
    print(f"{folder.name}: losses {losses}, largest logit {logits.abs().max().item():.2f}")


def write_values(folder: Path):
    """All bit patterns would be 65536 values: these have every exponent, both signs, and a few mantissas."""
    folder.mkdir(exist_ok=True)
    stored, expected = {}, {}
    for name, dtype, mantissa in [("bf16", torch.bfloat16, 7), ("f16", torch.float16, 10)]:
        ones = (1 << mantissa) - 1
        bits = [high << mantissa | low for high in range(1 << (16 - mantissa)) for low in (0, 1, ones // 3, ones)]
        words = torch.tensor(bits, dtype=torch.int32).to(torch.int16)
        stored[name] = words.view(dtype)
        expected[name] = stored[name].to(torch.float32)
    save_file(stored, folder / "halves.safetensors")
    save_file(expected, folder / "expected.safetensors")


def main():
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    for seed, (name, make) in enumerate((CASES if VERSION < 5 else CASES_OF_5).items()):
        torch.manual_seed(seed + (0 if VERSION < 5 else 100))
        write(out / name, make())
    if VERSION < 5:
        write_values(out / "values")


if __name__ == "__main__":
    main()
