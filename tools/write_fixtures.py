"""Writes the checkpoints and reference values that contextlm-weights is tested with.

    pip install torch==2.9.0 transformers==4.57.1 safetensors==0.8.0 numpy
    python tools/write_fixtures.py crates/contextlm-weights/tests/fixtures

Every folder is a model directory as `transformers` saves it, with every parameter random (a fresh model has zero biases
and norms of one, which would hide a wrong name), and `expected.safetensors`: `tokens` [2, T], `logits` [2, T, V], `loss`
(mean cross-entropy of every token but the first of a row), and `grad.NAME` for every parameter.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

VOCABULARY, POSITIONS = 61, 12


def gpt2(**settings):
    config = dict(vocab_size=VOCABULARY, n_positions=POSITIONS, n_embd=24, n_layer=2, n_head=2)
    config |= dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    return GPT2LMHeadModel(GPT2Config(**{**config, **settings}))


def neox(**settings):
    config = dict(
        vocab_size=VOCABULARY,
        max_position_embeddings=POSITIONS,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=96,
        rotary_pct=0.25,
        tie_word_embeddings=False,
    )
    return GPTNeoXForCausalLM(GPTNeoXConfig(**{**config, **settings}))


CASES = {
    "gpt2": gpt2,
    "gpt2_odd_head": lambda: gpt2(n_embd=15, n_head=3, n_inner=40, activation_function="gelu"),
    "neox": neox,
    "neox_serial": lambda: neox(num_attention_heads=2, rotary_pct=1.0, use_parallel_residual=False),
    "neox_tied": lambda: neox(tie_word_embeddings=True, attention_bias=False, num_hidden_layers=1),
}


def write(folder: Path, model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = ("ln_" in name or "norm" in name) and name.endswith("weight")
            parameter.normal_(1.0 if norm else 0.0, 0.2)
    model.eval()
    tokens = torch.randint(VOCABULARY, (2, POSITIONS))
    logits = model(tokens).logits
    loss = F.cross_entropy(logits[:, :-1].reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))
    loss.backward()
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    expected = {f"grad.{name}": parameter.grad for name, parameter in model.named_parameters()}
    expected |= {"tokens": tokens.to(torch.int32), "logits": logits, "loss": loss.reshape(1)}
    save_file({name: value.detach().contiguous() for name, value in expected.items()}, folder / "expected.safetensors")
    print(f"{folder.name}: loss {loss.item():.4f}, largest logit {logits.abs().max().item():.2f}")


def main():
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    for seed, (name, make) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        write(Path(sys.argv[1]) / name, make())


if __name__ == "__main__":
    main()
