#!/usr/bin/env python3
"""How long loading a checkpoint of Pythia-410M's size takes beside PyTorch, from a warm page cache.

    pip install torch==2.9.0 transformers==4.57.1 safetensors==0.8.0
    python3 tools/bench_load.py

Writes a random checkpoint in f32 (1.6 GB) unless --dir has one, then loads it in turn: in PyTorch with safetensors'
`load_file` and a model built without initial values that takes the tensors over, and with our example `load_weights`. Both
sides count from the first byte read to the finished model, in a new process each time, whose start is not included: memory
that a process has had before costs it less. The ratio is our time over PyTorch's; below 1 is faster. The last line is one
JSON object.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

ROOT = Path(__file__).resolve().parent.parent
PYTHIA_410M = dict(
    vocab_size=50304,
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    intermediate_size=4096,
    max_position_embeddings=2048,
    rotary_pct=0.25,
    tie_word_embeddings=False,
)


def write(folder):
    print(f"writing a random checkpoint to {folder}", file=sys.stderr)
    GPTNeoXForCausalLM(GPTNeoXConfig(**PYTHIA_410M)).save_pretrained(folder, max_shard_size="10GB")


def torch_seconds(folder):
    start = time.perf_counter()
    tensors = load_file(folder / "model.safetensors")
    with torch.device("meta"):
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**PYTHIA_410M))
    # `assign` takes the tensors over, which is PyTorch's fastest way; they are still pages of the file, so each is read.
    model.load_state_dict(tensors, strict=False, assign=True)
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return time.perf_counter() - start


def torch_seconds_of_a_new_process(folder):
    command = [sys.executable, __file__, "--dir", folder, "--torch-once"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def our_seconds(program, folder):
    out = subprocess.run([program, folder], capture_output=True, text=True, check=True).stdout
    return float(out.split()[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, help="model directory to load, of Pythia-410M's shape")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch-once", action="store_true", help="only loads --dir in PyTorch and prints the seconds")
    args = parser.parse_args()
    if args.torch_once:
        print(torch_seconds(args.dir))
        return

    build = ["cargo", "build", "--release", "--example", "load_weights", "--message-format=json"]
    built = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    messages = (json.loads(line) for line in built.splitlines())
    program = next(m["executable"] for m in messages if m.get("target", {}).get("name") == "load_weights")

    with tempfile.TemporaryDirectory() as scratch:
        folder = args.dir or Path(scratch)
        if args.dir is None:
            write(folder)
        torch_seconds(folder)  # fills the page cache
        ours, theirs = [], []
        for number in range(1, args.rounds + 1):
            theirs.append(torch_seconds_of_a_new_process(folder))
            ours.append(our_seconds(program, folder))
            print(f"round {number}: PyTorch {theirs[-1]:.3f} s, ours {ours[-1]:.3f} s, ratio {ours[-1] / theirs[-1]:.3f}")
    ratio = statistics.median(our / their for our, their in zip(ours, theirs))
    summary = dict(ratio=round(ratio, 4), our_seconds=round(statistics.median(ours), 4))
    summary |= dict(torch_seconds=round(statistics.median(theirs), 4), rounds=args.rounds, torch=torch.__version__)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
