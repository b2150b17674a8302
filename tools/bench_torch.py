#!/usr/bin/env python3
"""How fast ContextLM's training step is beside PyTorch's, on the same model, batch and number of threads.

    python3 tools/bench_torch.py                 # needs PyTorch; tools/install_libtorch.sh sets one up

Both train the same plain GPT-2 in f32 on random tokens with AdamW: PyTorch in eager mode, ours by the example
`train_step`. They run in turn, round after round, so that a slow minute of the machine hits both. The ratio is
PyTorch's time over ours: 1 is equal, 0.5 is half of PyTorch's speed. The last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

ROOT = Path(__file__).resolve().parent.parent


class Block(nn.Module):
    """A GPT-2 block: x + attention(norm(x)), then x + mlp(norm(x)). [B, T, D] -> [B, T, D]"""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        rows, length, width = x.shape
        qkv = self.qkv(self.norm_1(x)).view(rows, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # [B, H, T, Dh] each
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(rows, length, width))
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    """GPT-2: tokens and targets [B, T] -> mean cross-entropy. The head has a weight of its own unless it is tied."""

    def __init__(self, args):
        super().__init__()
        self.tokens = nn.Embedding(args.vocabulary, args.width)
        self.positions = nn.Embedding(args.length, args.width)
        self.blocks = nn.ModuleList(Block(args.width, args.heads) for _ in range(args.layers))
        self.norm = nn.LayerNorm(args.width)
        self.head = nn.Linear(args.width, args.vocabulary, bias=False)
        if args.tied:
            self.head.weight = self.tokens.weight
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class TorchTrainer:
    """PyTorch's side: one model, trained on through all rounds."""

    def __init__(self, args):
        torch.manual_seed(0)
        torch.set_num_threads(args.threads)
        self.model = Gpt(args)
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        other = [p for p in self.model.parameters() if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95), eps=1e-8)
        self.shape = (args.rows, args.length + 1)
        self.vocabulary = args.vocabulary

    def parameters(self):
        return sum(p.numel() for p in self.model.parameters())

    def seconds(self, steps):
        """The seconds of each of so many training steps."""
        seconds = []
        for _ in range(steps):
            batch = torch.randint(self.vocabulary, self.shape)
            start = time.perf_counter()
            loss = self.model(batch[:, :-1], batch[:, 1:])
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            loss.item()
            seconds.append(time.perf_counter() - start)
        return seconds


def cargo(args, command):
    features = ["--features", args.features] if args.features else []
    return ["cargo", command, "--release", "--quiet", *features, "--example", "train_step"]


def ours(args):
    """One run of our example: the seconds of each step, and the number of parameters."""
    shape = ["width", "layers", "heads", "vocabulary", "rows", "length", "steps", "device"]
    flags = [word for name in shape for word in (f"--{name}", str(getattr(args, name)))]
    flags += [] if args.tied else ["--untied"]
    command = [*cargo(args, "run"), "--", *flags, "--json"]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads), "OMP_NUM_THREADS": str(args.threads)}
    run = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(run.stdout.splitlines()[-1])
    return result["seconds_per_step"], result["parameters"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default, what in [
        ("width", 512, "width of the model"),
        ("layers", 6, "number of blocks"),
        ("heads", 8, "attention heads"),
        ("vocabulary", 8192, "size of the vocabulary"),
        ("rows", 4, "sequences in a batch"),
        ("length", 256, "tokens in a sequence"),
        ("threads", 2, "threads of either program"),
        ("steps", 8, "training steps in a run"),
        ("rounds", 3, "runs of either program, in turn"),
        ("warmup", 2, "first steps of every run that do not count"),
    ]:
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{what} (default {default})")
    parser.add_argument("--tied", action="store_true", help="one tensor for embeddings and head, as in GPT-2")
    parser.add_argument("--device", default="cpu", help="our device (default cpu)")
    parser.add_argument("--features", default="", help="cargo features for it, such as contextlm-examples/libtorch")
    args = parser.parse_args()
    if args.steps <= args.warmup:
        parser.error(f"--steps {args.steps} leaves nothing after --warmup {args.warmup}: use more steps")

    subprocess.run(cargo(args, "build"), cwd=ROOT, check=True)
    trainer = TorchTrainer(args)
    torch_seconds, our_seconds, ratios = [], [], []
    for number in range(1, args.rounds + 1):
        a = trainer.seconds(args.steps)[args.warmup :]
        b, parameters = ours(args)
        b = b[args.warmup :]
        if parameters != trainer.parameters():
            sys.exit(f"the models differ: {trainer.parameters()} parameters in PyTorch, {parameters} in ours")
        torch_seconds += a
        our_seconds += b
        ratios.append(statistics.median(a) / statistics.median(b))
        print(
            f"round {number}: PyTorch {statistics.median(a):.3f} s, ours {statistics.median(b):.3f} s a step, "
            f"ratio {ratios[-1]:.3f}",
            flush=True,
        )

    result = {
        "ratio": round(statistics.median(torch_seconds) / statistics.median(our_seconds), 4),
        "ratio_of_each_round": [round(ratio, 4) for ratio in ratios],
        "torch_seconds_per_step": round(statistics.median(torch_seconds), 4),
        "our_seconds_per_step": round(statistics.median(our_seconds), 4),
        "parameters": trainer.parameters(),
        "torch": torch.__version__,
        **vars(args),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
