#!/usr/bin/env python3
"""Trains the plain row of tools/gpu/compare.sh in PyTorch: the same shards, batches of as many tokens, optimizer and schedule.

    python3 tools/gpu/peer_train.py --shards SHARDS --steps 1112

What differs is the order of the windows and the random numbers. Prints the validation loss over the first --eval-tokens tokens of
the shards' validation part, in windows of --length, at the end; the last line is one JSON object. So a loss that differs from that of
`contextlm train` by more than another seed does is a fault, here or there.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy
import peer
import torch
from torch import nn


def tokens(folder):
    """The token shards of a folder, one after another, without llm.c's header of 256 numbers of four bytes."""
    return numpy.concatenate([numpy.fromfile(path, dtype="<u2", offset=1024) for path in sorted(Path(folder).glob("*.bin"))])


def schedule(step, args):
    """Linear warm-up over 5 % of the steps, then a cosine down to a tenth."""
    warmup = round(0.05 * args.steps)
    if step < warmup:
        return args.lr * (step + 1) / warmup
    share = (step - warmup) / max(1, args.steps - warmup)
    return args.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * share)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True, help="folder of `contextlm prepare`")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--rows", type=int, default=64, help="windows in a batch")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--eval-tokens", type=int, nargs="+", default=[1048576], help="multiples of a batch")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    peer.MODELS["row"] = (args.layers, args.width, args.heads, 50257, args.length, None)
    model = peer.Model("row").cuda()
    for block in model.blocks:
        for linear in (block.out, block.down):
            nn.init.normal_(linear.weight, std=0.02 / math.sqrt(2 * args.layers))
    for name, parameter in model.named_parameters():
        if name.endswith(".bias") and "norm" not in name:
            nn.init.zeros_(parameter)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    other = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.95), eps=1e-8, fused=True)
    low = torch.autocast("cuda", torch.bfloat16)

    def windows(stream):
        count = (len(stream) - 1) // args.length
        return torch.from_numpy(stream[: count * args.length + 1].astype(numpy.int64)).cuda(), count

    train, count = windows(tokens(args.shards / "train"))
    order = torch.randperm(count)
    offsets = torch.arange(args.length + 1)
    begun = time.perf_counter()
    for step in range(args.steps):
        chosen = order[torch.arange(step * args.rows, (step + 1) * args.rows) % count]
        batch = train[(chosen[:, None] * args.length + offsets).cuda()]
        for group in optimizer.param_groups:
            group["lr"] = schedule(step, args)
        with low:
            loss = model(batch[:, :-1], batch[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)
    torch.cuda.synchronize()
    speed = args.steps * args.rows * args.length / (time.perf_counter() - begun)

    valid, count = windows(tokens(args.shards / "valid"))
    losses = []
    with torch.no_grad(), low:
        for start in range(0, count, args.rows):
            rows = torch.arange(start, min(count, start + args.rows))
            batch = valid[(rows[:, None] * args.length + offsets).cuda()]
            losses.append(model(batch[:, :-1], batch[:, 1:]).item())
    batches = [(n, n // (args.rows * args.length)) for n in args.eval_tokens]
    if not all(0 < count <= len(losses) for _, count in batches):
        raise SystemExit(f"--eval-tokens: from a batch, {args.rows * args.length}, to all of them, {len(losses)} batches")
    valid_loss = {str(n): sum(losses[:count]) / count for n, count in batches}
    print(json.dumps({"valid_loss": valid_loss, "loss": loss.item(), "tokens_per_second": speed, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
