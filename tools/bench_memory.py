#!/usr/bin/env python3
"""Peak memory of ContextLM's training step beside PyTorch's, on the same model and batch.

    python3 tools/bench_memory.py                # needs PyTorch; tools/install_libtorch.sh sets one up

Both train the same plain GPT-2 in f32 on random tokens with AdamW, as in tools/bench_torch.py, in turn and each in a new
process. Memory is RssAnon, sampled every millisecond while steps run: mapped files do not count, and what an empty
process holds is subtracted. The ratio is ours over PyTorch's: below 1 is less. The last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time

from bench_torch import ROOT, TorchTrainer


def rss_anon():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) << 10


def torch_side(args):
    """In a process of its own: bytes at rest and at the peak of a step, above those of a process with PyTorch loaded."""
    empty = rss_anon()
    trainer = TorchTrainer(args)
    peak, running = [0], [True]

    def sample():
        while running[0]:
            peak[0] = max(peak[0], rss_anon())
            time.sleep(0.001)

    trainer.seconds(args.warmup)
    thread = threading.Thread(target=sample)
    thread.start()
    trainer.seconds(args.steps)
    running[0] = False
    thread.join()
    print(json.dumps({"peak": peak[0] - empty, "at_rest": rss_anon() - empty, "parameters": trainer.parameters()}))


def last_line(command, args):
    environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads), "OMP_NUM_THREADS": str(args.threads)}
    run = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def ours(args, more=()):
    shape = ["width", "layers", "heads", "vocabulary", "rows", "length", "steps", "warmup", "device"]
    flags = [word for name in shape for word in (f"--{name}", str(getattr(args, name)))]
    flags += [] if args.tied else ["--untied"]
    found = last_line([args.program, *flags, "--json", *more], args)
    return {"peak": found["peak_bytes"], "at_rest": found["bytes_at_rest"], "parameters": found["parameters"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in [
        ("width", 512), ("layers", 6), ("heads", 8), ("vocabulary", 8192), ("rows", 4), ("length", 256),
        ("threads", 2), ("steps", 4), ("warmup", 2), ("rounds", 3),
    ]:
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--tied", action="store_true", help="one tensor for embeddings and head, as in GPT-2")
    parser.add_argument("--device", default="cpu", help="our device (default cpu)")
    parser.add_argument("--program", help="the example train_step, built already; without it, it is built")
    parser.add_argument("--torch-side", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch_side:
        return torch_side(args)
    if args.program is None:
        build = ["cargo", "build", "--release", "--example", "train_step", "--message-format=json"]
        lines = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
        built = [json.loads(line).get("executable") for line in lines]
        args.program = next(path for path in reversed(built) if path)

    rounds = []
    for number in range(1, args.rounds + 1):
        torch = last_line([sys.executable, __file__, *sys.argv[1:], "--torch-side"], args)
        own, checkpointed = ours(args), ours(args, ["--gradient-checkpointing"])
        if own["parameters"] != torch["parameters"]:
            sys.exit(f"the models differ: {torch['parameters']} parameters in PyTorch, {own['parameters']} in ours")
        rounds.append({"torch": torch, "ours": own, "checkpointed": checkpointed})
        mib = {name: round(side["peak"] / 2**20) for name, side in rounds[-1].items()}
        print(f"round {number}: peak MiB {mib}, ratio {own['peak'] / torch['peak']:.3f}", flush=True)

    def median(side, key):
        return statistics.median(found[side][key] for found in rounds)

    result = {"ratio": round(median("ours", "peak") / median("torch", "peak"), 4)}
    result["ratio_checkpointed"] = round(median("checkpointed", "peak") / median("torch", "peak"), 4)
    for side in rounds[0]:
        result |= {f"{side}_{key}_bytes": median(side, key) for key in ["peak", "at_rest"]}
    shape = ["width", "layers", "heads", "vocabulary", "rows", "length", "threads", "steps", "warmup", "rounds", "tied", "device"]
    result |= {"parameters": rounds[0]["ours"]["parameters"], **{name: getattr(args, name) for name in shape}}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
