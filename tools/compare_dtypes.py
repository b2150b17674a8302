#!/usr/bin/env python3
"""Mixed precision beside f32: speed of a step, and the loss after a run, through `contextlm train`.

    cargo build --release -p contextlm-cli --features libtorch
    python3 tools/compare_dtypes.py --program target/release/contextlm --device libtorch \\
        --tokenizer gpt2/tokenizer.json --text books/train-00.jsonl.zst --valid books/valid.jsonl.zst

The texts are prepared, then the same GPT-2 shaped ContextLM is trained from the same seed once in f32 and once in bf16. Speed is
the median over the steps of each run, which follow one another; to see that the machine is steady, the first steps
are run once more at the end. The last line is one JSON object.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

CONFIG = """
[model]
backbone = {{ model_type = "gpt2", vocab_size = 50257, n_positions = {length}, n_embd = {width}, n_layer = {layers}, \
n_head = {heads}, resid_pdrop = 0.0, embd_pdrop = 0.0, attn_pdrop = 0.0 }}
context = {{ chunk_size = 2 }}
[data]
train = "{shards}/train"
valid = "{shards}/valid"
sequence_length = {length}
[optimizer]
lr = 1e-3
[train]
steps = {steps}
batch_tokens = {batch}
device = "{device}"
dtype = "{dtype}"
[checkpoint]
dir = "{run}"
every = 0
[eval]
tokens = 8192
"""


def call(program, *words):
    run = subprocess.run([program, *words, "--json"], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def train(args, folder, name, dtype, steps):
    run = folder / name
    shape = {key: getattr(args, key) for key in ["width", "layers", "heads", "length", "device"]}
    text = CONFIG.format(shards=folder / "shards", run=run, dtype=dtype, steps=steps, batch=args.batch, **shape)
    config = folder / f"{name}.toml"
    config.write_text(text)
    found = call(args.program, "train", str(config))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    speeds = [line["tokens_per_second"] for line in lines if "tokens_per_second" in line][3:]
    speed = statistics.median(speeds)
    print(f"{name}: {speed:.0f} tokens/s, validation loss {found['valid_loss']:.4f}", flush=True)
    return speed, found["valid_loss"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="contextlm")
    parser.add_argument("--device", default="libtorch")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--text", required=True, help="file or folder to train on")
    parser.add_argument("--valid", required=True, help="file or folder to validate with")
    for name, default in [("width", 256), ("layers", 4), ("heads", 4), ("length", 128), ("batch", 512), ("steps", 300)]:
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        # A share of a few books may be none of them: what is held out is named.
        call(args.program, "prepare", "--tokenizer", args.tokenizer, "--out", str(folder / "shards"), args.text,
             "--valid", args.valid)
        again = max(8, args.steps // 10)
        f32, f32_loss = train(args, folder, "f32", "f32", args.steps)
        bf16, bf16_loss = train(args, folder, "bf16", "bf16", args.steps)
        f32_again, _ = train(args, folder, "f32-again", "f32", again)
        bf16_again, _ = train(args, folder, "bf16-again", "bf16", again)
    print(json.dumps({
        "speed_ratio": round(bf16 / f32, 4), "speed_ratio_again": round(bf16_again / f32_again, 4),
        "f32_tokens_per_second": round(f32), "bf16_tokens_per_second": round(bf16),
        "f32_valid_loss": f32_loss, "bf16_valid_loss": bf16_loss, "loss_difference": round(bf16_loss / f32_loss - 1, 6),
        **{name: getattr(args, name) for name in ["device", "width", "layers", "heads", "length", "batch", "steps"]},
    }))


if __name__ == "__main__":
    main()
