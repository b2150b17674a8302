#!/usr/bin/env python3
"""Training steps, prefill and decoding on a CUDA device beside PyTorch's, on the same models, batches and number types.

    cargo build --release -p contextlm-examples --features cuda-cpp --examples
    python3 tools/gpu/speed.py --programs target/release/examples --out speed.jsonl [--only train] [--models gpt2]

Every line of the file is one measurement; what fails or takes longer than --timeout is a line with its error. The table at
the end has, for each model and number type, tokens a second, the share of the peak (MFU, 989 TFLOP/s: an H100's dense bf16),
device memory, and the ratio to PyTorch's eager mode: above 1 we are faster. Device memory is what nvidia-smi sees in use above
what was in use before, looked at while the program runs: caches and the driver's own part are in it, on both sides.

With --device libtorch-cuda:0 the programs need PyTorch's libraries on LD_LIBRARY_PATH. Products of f32 are as exact as f32 on all
sides ("highest"); with --float32-matmul-precision high they go through TF32 in PyTorch and in libtorch-cuda, not on cuda.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from models import MODELS

PEER = Path(__file__).with_name("peer.py")
PEAK = 989e12
# Generations of which medians are taken, after one that is not counted.
TURNS = 7


def bytes_in_use():
    """Memory of the GPU that any program has."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]) << 20


class CardMemory(threading.Thread):
    """The most memory that the GPU has in use until `stop`, above that at the start."""

    def __init__(self):
        super().__init__(daemon=True)
        self.base = self.most = bytes_in_use()
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.1):
            self.most = max(self.most, bytes_in_use())

    def stop(self):
        self.over.set()
        self.join()
        return self.most - self.base


def run(command, args, text=None):
    """The last JSON line that a program prints, or why there is none; and all of them."""
    begun = time.perf_counter()
    memory = CardMemory()
    memory.start()
    env = {**os.environ, "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": str(int(args.float32_matmul_precision == "high"))}
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=args.timeout, env=env)
    except subprocess.TimeoutExpired:
        return {"error": f"more than {args.timeout} s"}, []
    finally:
        card_bytes = memory.stop()
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"error": f"exit {done.returncode}: {done.stderr[-500:]}"}, []
    answers = [json.loads(line) for line in lines]
    kernels = done.stderr.split("  kernel, ")
    if len(kernels) > 1:
        print(done.stderr[done.stderr.rfind("       ms  times") :], file=sys.stderr)
    seconds = time.perf_counter() - begun
    return {**answers[-1], "card_bytes": card_bytes, "seconds_of_the_program": seconds}, answers


def flops_per_token(model, length):
    """Forward and backward of the plain model, by nanoGPT's rule."""
    layers, width, _, vocabulary, *_ = MODELS[model]
    return 3 * (2 * (12 * layers * width * width + vocabulary * width) + 4 * layers * width * length)


def training(args, model, dtype, rows):
    shape = ["--rows", str(rows), "--length", str(args.length), "--steps", str(args.steps), "--warmup", str(args.warmup)]
    torch = [sys.executable, str(PEER), "train", "--model", model, "--dtype", dtype, *shape]
    torch += ["--float32-matmul-precision", args.float32_matmul_precision]
    ours = [str(args.programs / "train_step"), "--preset", model, "--dtype", dtype, *shape]
    ours += ["--device", args.device, "--json"]
    for side, command in [
        ("PyTorch eager", torch),
        ("PyTorch compiled", [*torch, "--compile"]),
        ("plain", [*ours, "--kernels"] if args.kernels else ours),
        ("ContextLM w=2", [*ours, "--context", "--chunk-size", "2"]),
        ("ContextLM w=4", [*ours, "--context", "--chunk-size", "4"]),
    ]:
        if args.sides and not any(side.startswith(name) for name in args.sides):
            continue
        found, _ = run(command, args)
        if "seconds_per_step" in found:
            found["tokens_per_second"] = rows * args.length / statistics.median(found["seconds_per_step"])
            found["mfu"] = found["tokens_per_second"] * flops_per_token(model, args.length) / PEAK
        precision = args.float32_matmul_precision
        yield {"work": "train", "model": model, "dtype": dtype, "precision": precision, "rows": rows, "side": side, **found}


def generation(args, model, dtype):
    peer = [sys.executable, str(PEER), "generate", "--model", model, "--dtype", dtype, "--steps", str(TURNS)]
    peer += ["--prompt", str(args.prompt), "--new", str(args.new), "--warmup", "1"]
    peer += ["--float32-matmul-precision", args.float32_matmul_precision]
    work = {"work": "generate", "model": model, "dtype": dtype, "precision": args.float32_matmul_precision}
    if not args.sides or any("PyTorch eager".startswith(name) for name in args.sides):
        found, _ = run(peer, args)
        yield {**work, "side": "PyTorch eager", **found}
    ours = [str(args.programs / "generation_speed"), "--preset", model, "--dtype", dtype, "--device", args.device]
    for side, name in [("plain", "plain"), ("ContextLM w=2", "context")]:
        if args.sides and not any(side.startswith(wanted) for wanted in args.sides):
            continue
        found, answers = run(ours, args, f"generate {name} {args.prompt} {args.new}\n" * (1 + TURNS))
        found.pop("tokens", None)
        if answers:
            for key in ["prefill_seconds", "decode_seconds_per_token"]:
                # The first one compiles and tunes.
                found[key] = statistics.median(answer[key] for answer in answers[1:])
        yield {**work, "side": side, **found}


def table(lines):
    def row(*cells):
        print("| " + " | ".join(str(cell) for cell in cells) + " |")

    eager = {(x["work"], x["model"], x["dtype"]): x for x in lines if x["side"] == "PyTorch eager" and "error" not in x}
    row("model", "type", "program", "tokens/s", "MFU", "GiB", "to eager")
    for x in lines:
        if x["work"] == "train" and "error" not in x:
            base = eager.get(("train", x["model"], x["dtype"]), {}).get("tokens_per_second")
            ratio = f"{x['tokens_per_second'] / base:.2f}" if base else ""
            memory = f"{x['card_bytes'] / 2**30:.1f}"
            row(x["model"], x["dtype"], x["side"], f"{x['tokens_per_second']:.0f}", f"{100 * x['mfu']:.1f} %", memory, ratio)
    row("model", "type", "program", "prefill ms", "decode ms", "to eager")
    for x in lines:
        if x["work"] == "generate" and "error" not in x:
            base = eager.get(("generate", x["model"], x["dtype"]))
            keys = ["prefill_seconds", "decode_seconds_per_token"]
            ratios = ", ".join(f"{base[key] / x[key]:.2f}" for key in keys) if base else ""
            row(x["model"], x["dtype"], x["side"], *(f"{1e3 * x[key]:.2f}" for key in keys), ratios)
    for x in lines:
        if "error" in x:
            print(x["work"], x["model"], x["dtype"], x["side"], x["error"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=Path, required=True, help="folder of train_step and generation_speed")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--dtypes", nargs="+", choices=["f32", "bf16"], default=["bf16", "f32"])
    parser.add_argument("--only", choices=["train", "generate"])
    parser.add_argument("--sides", nargs="+", help="such as: PyTorch plain")
    parser.add_argument("--float32-matmul-precision", choices=["highest", "high"], default="highest", help="as PyTorch's")
    parser.add_argument("--rows", type=int, default=8, help="sequences in a batch; half of it for pythia-410m")
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=4)
    parser.add_argument("--kernels", action="store_true", help="print what every kernel of the plain step takes")
    parser.add_argument("--timeout", type=float, default=120)
    args = parser.parse_args()
    lines = []
    with args.out.open("a") as out:
        for model in args.models:
            for dtype in args.dtypes:
                rows = args.rows if model == "gpt2" else max(1, args.rows // 2)
                found = []
                if args.only != "generate":
                    found.append(training(args, model, dtype, rows))
                if args.only != "train":
                    found.append(generation(args, model, dtype))
                for line in (line for part in found for line in part):
                    lines.append(line)
                    out.write(json.dumps(line) + "\n")
                    out.flush()
    table(lines)


if __name__ == "__main__":
    main()
