"""Writes recipes/*.toml: for every size the five rows that are compared. `--check` only says whether they are as written here.

    python3 tools/write_recipes.py
"""

import pathlib
import sys

GPT2 = (
    '{{ model_type = "gpt2", vocab_size = 50257, n_positions = {positions}, n_embd = {width}, n_layer = {layers}, '
    "n_head = {heads}, resid_pdrop = 0.0, embd_pdrop = 0.0, attn_pdrop = 0.0 }}"
)
NEOX = (
    '{{ model_type = "gpt_neox", vocab_size = 50304, max_position_embeddings = {positions}, hidden_size = {width}, '
    "num_hidden_layers = {layers}, num_attention_heads = {heads}, intermediate_size = {inner}, rotary_pct = 0.25 }}"
)

# Layers, width, heads; parameters of the plain model; the rate that GPT-3's table and Pythia's give the size; rows at once.
SIZES = {
    "gpt2": (12, 768, 12, 124.4e6, "6e-4", 8),
    "gpt2-medium": (24, 1024, 16, 354.8e6, "3e-4", 4),
    "gpt2-large": (36, 1280, 20, 774.0e6, "2.5e-4", 2),
    "gpt2-xl": (48, 1600, 25, 1557.6e6, "2e-4", 1),
    "pythia-14m": (6, 128, 4, 14.07e6, "1e-3", 16),
    "pythia-31m": (6, 256, 8, 30.49e6, "1e-3", 16),
    "pythia-70m": (6, 512, 8, 70.4e6, "1e-3", 8),
    "pythia-160m": (12, 768, 12, 162.3e6, "6e-4", 4),
    "pythia-410m": (24, 1024, 16, 405.3e6, "3e-4", 2),
    "pythia-1b": (16, 2048, 8, 1011.8e6, "3e-4", 2),
    "pythia-1.4b": (24, 2048, 16, 1414.6e6, "2e-4", 1),
}

ROWS = {
    "plain": "The plain backbone{size}",
    "plain-deep": "The plain backbone{size} with as many more blocks as the ContextLM's predictor has: equal parameters",
    "constant": "The control{size}: the fusion with one learned vector, no predictor",
    "constant-deep": "The control{size} (the fusion with one learned vector) with two more blocks: equal parameters",
    "contextlm": "A ContextLM{size}",
}

CONTEXT = '''
# Without this table it is the plain backbone.
[model.context]
# Tokens of a chunk, w (integer, default 4). 2 is what our measurements favour, see docs/src/results.md; for 4:
# --set model.context.chunk_size=4 --set checkpoint.dir=runs/{name}-w4
chunk_size = 2
# Blocks before the contexts are fused (integer, default 1).
encoder_layers = 1
# How the states of a chunk become one (string, default "mean"): "mean", "last", "first", "max" or "learned".
pooling = "mean"
# Where contexts come from (string, default "predicted"): "predicted", or "constant", which has no predictor: the control that
# shows what the contexts are worth.
source = "{source}"
# Blocks of the predictor (integer, default 2).
predictor_layers = 2
# Positions of the predictor (string, default "rotary" where the backbone's are, else "none"): "rotary" or "none".
predictor_positions = "{predictor_positions}"
# Whether a norm follows the predictor (boolean, default true).
predictor_norm = true
# How a context is added to the token states (string, default "normed_add"): "normed_add", "add", "gated_add",
# "projected_add", "concat" or "interleave".
fusion = "normed_add"
# Where the gate of "gated_add" starts (float, default 0.1); the other fusions have none.
gate_init = 0.1
# Context before the first prediction (string, default "learned"): "learned" or "zero".
initial_context = "learned"
'''

RECIPE = '''# {about}: one of five rows that are compared.{style}
#
# contextlm prepare --tokenizer {tokenizer}/tokenizer.json --out shards TEXT...
# contextlm train recipes/{name}.toml
# contextlm train recipes/{name}.toml --dry-run      (parameters, memory, tokens, schedule)
# contextlm compare runs/{size}-plain runs/{size}-constant runs/{size}-contextlm --out compare.html
#
# Any value can be replaced on the command line: --set optimizer.lr=3e-4. Of values that exclude each other the one that is
# set stays: --set train.steps=100 goes without train.tokens.

[model]
# Exactly one of: preset (string, a published backbone), path (string, a model directory), backbone (table, a Hugging Face
# config). No default.
backbone = {backbone}
{context}
[data]
# Folder of token shards to train on (string, no default).
train = "shards/train"
# Folder of token shards to validate with (string, default none: no validation).
valid = "shards/valid"
# Tokens of a row (integer, no default), at most the model's positions.
sequence_length = {positions}
# Whether documents in a row are kept apart (boolean, default false): otherwise they are one stream, as GPT-2 and Pythia had it.
packing = false

[optimizer]
# "adamw" or "muon", which takes the matrices of blocks and leaves the rest to AdamW (string, default "adamw").
name = "adamw"
# Largest learning rate (float, default 1e-3).
lr = {lr}
# Decay rates of AdamW's moments (two floats, default [0.9, 0.95]).
betas = [0.9, 0.95]
# AdamW's epsilon (float, default 1e-8).
eps = 1e-8
# Decoupled weight decay of matrices and embeddings (float, default 0.1).
weight_decay = 0.1
# Largest global norm of the gradients (float, default 1.0; 0 does not clip).
grad_clip = 1.0
# Of muon alone, in PyTorch's words: momentum (float, default 0.95), nesterov (boolean, default true), ns_steps (integer,
# default 5), and adjust_lr_fn (string, default "match_rms_adamw", with which lr and weight_decay mean what they mean for
# adamw; or "original").

[schedule]
# "cosine", "wsd" (warm-up, stable, decay) or "constant" (string, default "cosine").
name = "cosine"
# Share of all steps that warm up (float, default 0.01). Or warmup_steps (integer, default none), not both.
warmup_ratio = 0.01
# Where cosine and wsd end, as a share of lr (float, default 0.1).
min_lr_ratio = 0.1
# Share of all steps over which wsd decays (float, default 0.2).
decay_ratio = 0.2

[loss]
# Loss on the predicted contexts themselves, an ablation (string, default "none"): "none", "mse" or "cosine".
latent_loss = "none"
# What it counts (float, default 0).
latent_weight = 0.0
# Weight of the squared log-normaliser (float, default 0).
z_loss = 0.0

[guard]
# Nats by which a loss may be above the smoothed loss before its step is skipped (float, default 0: any).
max_spike = 0.0
# Skipped steps in a row after which the run stops (integer, default 10).
max_skipped = 10

[train]
# Tokens to train on (integer, no default), rounded up to whole steps{why_tokens}. Or steps (integer, no default), not
# both.
tokens = {tokens}
# Tokens of a batch (integer, no default), a multiple of micro_batch x sequence_length.
batch_tokens = {batch_tokens}
# Rows that go through the model at once (integer, default all): less needs less memory, the result is the same.
micro_batch = {micro_batch}
# Seed of parameters, order of the data, and dropout (integer, default 0).
seed = 0
# Seeds of several runs instead, each in checkpoint.dir/seed-N (list of integers, default none); contextlm compare takes them
# as one group: seeds = [0, 1, 2]
# Type of the matrix products (string, default "f32"): "f32" or "bf16".
dtype = "{dtype}"
# Where to compute (string, default "cpu"): cpu, wgpu, cuda:0, libtorch, as far as they are built in. One process, one device.
device = "{device}"
# Whether cheap operations are computed again in the backward pass: less memory, more time (boolean, default false).
gradient_checkpointing = false
# Patterns of parameters that stay as they are (list of strings, default none).
freeze = []

[checkpoint]
# The directory of the run (string, no default).
dir = "runs/{name}"
# Steps between checkpoints (integer, default 1000; 0 leaves one at the end).
every = {every}
# Checkpoints that are kept, beside the best one (integer, default 3).
keep = 3

[eval]
# Steps between validations, beside those at checkpoints (integer, default 0: none).
every = {eval_every}
# Tokens that are scored (integer, default 131072).
tokens = {eval_tokens}

[log]
# Whether event files for TensorBoard are written to the directory of the run (boolean, default false).
tensorboard = false
# Operations a second that the device makes at most, what MFU is a share of (float, default what is known of the device):
# peak_flops = 989.4e12
'''


def recipe(size, row):
    name, deep = f"{size}-{row}", 2 if row.endswith("deep") else 0
    if size == "small":
        layers, width, heads, positions = 4, 128, 4, 256
        words = {
            "tokenizer": "gpt2", "style": "\n# It trains on two cores.", "lr": "1e-3", "tokens": 1228800, "why_tokens": "",
            "batch_tokens": 2048, "micro_batch": 8, "dtype": "f32", "device": "cpu", "every": 200, "eval_every": 100,
            "eval_tokens": 32768, "of": " of 4 blocks",
        }
    else:
        layers, width, heads, parameters, lr, micro_batch = SIZES[size]
        positions = 1024 if size.startswith("gpt2") else 2048
        words = {
            "tokenizer": size.split("-")[0], "style": " In the Pythia style.\n# Not run by us yet.", "lr": lr,
            "why_tokens": ":\n# about 20 for each parameter of the plain model (Hoffmann et al. 2022)",
            "tokens": round(20 * parameters / 1e8) * 10**8, "batch_tokens": 524288, "micro_batch": micro_batch,
            "dtype": "bf16", "device": "cuda:0", "every": 500, "eval_every": 250, "eval_tokens": 1048576,
            "of": f" of the size of {size}",
        }
    neox = size.startswith("pythia")
    backbone = (NEOX if neox else GPT2).format(
        positions=positions, width=width, layers=layers + deep, heads=heads, inner=4 * width
    )
    source = "predicted" if row == "contextlm" else "constant"
    positions_of_p = "rotary" if neox else "none"
    context = CONTEXT.format(name=name, source=source, predictor_positions=positions_of_p)
    about = ROWS[row].format(size=words.pop("of"))
    return name, RECIPE.format(
        name=name, size=size, about=about, backbone=backbone, positions=positions,
        context="" if row.startswith("plain") else context, **words,
    )


def main():
    folder = pathlib.Path(__file__).parent.parent / "recipes"
    wanted = dict(recipe(size, row) for size in ["small", *SIZES] for row in ROWS)
    found = {path.stem: path.read_text() for path in folder.glob("*.toml")}
    if sys.argv[1:] == ["--check"]:
        wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        if wrong:
            sys.exit(f"not as tools/write_recipes.py writes them: {', '.join(wrong)}")
        return
    for name in found.keys() - wanted.keys():
        (folder / f"{name}.toml").unlink()
    for name, text in wanted.items():
        (folder / f"{name}.toml").write_text(text)


if __name__ == "__main__":
    main()
