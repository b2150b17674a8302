#!/usr/bin/env python3
"""How fast our example `generation_speed` generates beside `transformers` with its cache, on the CPU.

    pip install torch==2.9.0 transformers==4.57.1
    python3 tools/bench_generate.py [--out docs/results/bench_generate.json]

Writes a random GPT-2 of 124M parameters in f32, which both sides load, and lets them take turns: a prompt of 128 tokens, then
128 new ones, greedily. `transformers` runs its model directly, without the overhead of `generate`. Prefill counts from the
call to the first token, decode is the mean of the others. Ratios are theirs over ours, above 1 we are faster: the median of
the rounds' ratios. Further lines: the share of the memory's bandwidth that decoding reaches when every weight is read once a
token, a ContextLM of this size over the plain model, and a token after 900 tokens of context over one after 16. The last line
is one JSON object.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel

ROOT = Path(__file__).resolve().parent.parent
PROMPT, NEW = 128, 128


class Ours:
    """The example, which answers every line with one of JSON."""

    def __init__(self, program, folder):
        command = [program, "--model", folder]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def generate(self, model, prompt, new):
        return self.ask(f"generate {model} {prompt} {new}")


@torch.inference_mode()
def theirs(model, prompt, new):
    ids = torch.tensor([[i * 7919 % model.config.vocab_size for i in range(prompt)]])
    start = time.perf_counter()
    out = model(ids, use_cache=True, logits_to_keep=1)
    token = out.logits[:, -1:].argmax(-1)
    tokens = [token.item()]
    prefill = time.perf_counter() - start
    for _ in range(new - 1):
        out = model(token, past_key_values=out.past_key_values, use_cache=True)
        token = out.logits[:, -1:].argmax(-1)
        tokens.append(token.item())
    decode = time.perf_counter() - start - prefill
    return dict(prefill_seconds=prefill, decode_seconds_per_token=decode / (new - 1), tokens=tokens)


def build():
    command = ["cargo", "build", "--release", "-p", "contextlm-examples", "--example", "generation_speed"]
    built = subprocess.run([*command, "--message-format=json"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = (json.loads(line) for line in built.stdout.splitlines())
    return next(m["executable"] for m in messages if m.get("target", {}).get("name") == "generation_speed")


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", help="the example, built already")
    parser.add_argument("--out", type=Path, help="file for the JSON")
    args = parser.parse_args()
    program = args.program or build()

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config()).eval()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        ours = Ours(program, folder)
        ours.generate("plain", PROMPT, 8)
        ours.generate("context", PROMPT, 8)
        theirs(model, PROMPT, 8)
    config = model.config
    # The head is the token embedding; of the position embedding one row is read.
    weights = 4 * (sum(p.numel() for p in model.parameters()) - config.n_positions * config.n_embd)

    rounds = []
    for number in range(1, args.rounds + 1):
        found = dict(theirs=theirs(model, PROMPT, NEW), plain=ours.generate("plain", PROMPT, NEW))
        found["context"] = ours.generate("context", PROMPT, NEW)
        found["short"], found["long"] = ours.generate("plain", 16, 16), ours.generate("plain", 900, 16)
        found["bandwidth"] = ours.ask("bandwidth")["bytes_per_second"]
        same = sum(a == b for a, b in zip(found["theirs"].pop("tokens"), found["plain"].pop("tokens")))
        for name in ("context", "short", "long"):
            del found[name]["tokens"]
        rounds.append(found)
        t, p = found["theirs"], found["plain"]
        print(
            f"round {number}: prefill {t['prefill_seconds']:.3f} s / {p['prefill_seconds']:.3f} s, a token "
            f"{1e3 * t['decode_seconds_per_token']:.1f} ms / {1e3 * p['decode_seconds_per_token']:.1f} ms, "
            f"{same} of {NEW} tokens the same",
            file=sys.stderr,
        )

    def median(value):
        return round(statistics.median(value(found) for found in rounds), 4)

    def token(found, name):
        return found[name]["decode_seconds_per_token"]

    inspected = ours.ask("context")
    limit = 1.25 * (1 + inspected["predictor_layers"] / (inspected["chunk_size"] * config.n_layer))
    summary = dict(
        command=" ".join(["python3", *sys.argv]),
        date=date.today().isoformat(),
        machine=processor(),
        torch=torch.__version__,
        transformers=transformers.__version__,
        prefill_ratio=median(lambda f: f["theirs"]["prefill_seconds"] / f["plain"]["prefill_seconds"]),
        decode_ratio=median(lambda f: token(f, "theirs") / token(f, "plain")),
        prefill_seconds=median(lambda f: f["plain"]["prefill_seconds"]),
        their_prefill_seconds=median(lambda f: f["theirs"]["prefill_seconds"]),
        milliseconds_a_token=median(lambda f: 1e3 * token(f, "plain")),
        their_milliseconds_a_token=median(lambda f: 1e3 * token(f, "theirs")),
        bandwidth_share=median(lambda f: weights / token(f, "plain") / f["bandwidth"]),
        gigabytes_a_second=median(lambda f: f["bandwidth"] / 1e9),
        context_over_plain=median(lambda f: token(f, "context") / token(f, "plain")),
        context_over_plain_at_most=round(limit, 4),
        after_900_over_after_16=median(lambda f: token(f, "long") / token(f, "short")),
        milliseconds_after_16=median(lambda f: 1e3 * token(f, "short")),
        milliseconds_after_900=median(lambda f: 1e3 * token(f, "long")),
        rounds=args.rounds,
    )
    if args.out:
        args.out.write_text(json.dumps(dict(**summary, raw=rounds), indent=1) + "\n")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
