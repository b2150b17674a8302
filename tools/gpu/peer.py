#!/usr/bin/env python3
"""The same training steps and the same decoding in PyTorch on a CUDA device, for tools/gpu/speed.py.

    python3 tools/gpu/peer.py train --model gpt2 --dtype bf16 --rows 8 --compile
    python3 tools/gpu/peer.py generate --model pythia-410m --dtype bf16

The model is written as one writes it in PyTorch: fused attention, bf16 by autocast with parameters in f32, fused AdamW, clipping
by the global norm. Decoding is `transformers` with its cache, run directly, without the overhead of `generate`. The last line is
one JSON object.
"""

import argparse
import contextlib
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

from models import MODELS

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def rotate(x, cos, sin):
    """Turns the first dimensions of every head. x: [B, H, T, Dh]; cos, sin: [T, R]"""
    turned, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos + torch.cat((-second, first), dim=-1) * sin
    return torch.cat((turned.to(x.dtype), rest), dim=-1)


class Block(nn.Module):
    """GPT-2's block, or GPT-NeoX's where heads are rotated. [B, T, D] -> [B, T, D]"""

    def __init__(self, width, heads, rotary):
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attend(self, x, angles):
        rows, length, width = x.shape
        if self.rotary is None:
            q, k, v = self.qkv(x).view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = self.qkv(x).view(rows, length, self.heads, 3, -1).permute(3, 0, 2, 1, 4)
            q, k = rotate(q, *angles), rotate(k, *angles)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(rows, length, width))

    def mlp(self, x):
        return self.down(F.gelu(self.up(x), approximate="tanh" if self.rotary is None else "none"))

    def forward(self, x, angles):
        if self.rotary is None:
            x = x + self.attend(self.norm_1(x), angles)
            return x + self.mlp(self.norm_2(x))
        return x + self.attend(self.norm_1(x), angles) + self.mlp(self.norm_2(x))


class Model(nn.Module):
    """Tokens and targets [B, T] -> mean cross-entropy."""

    def __init__(self, name):
        super().__init__()
        layers, width, heads, vocabulary, positions, rotary = MODELS[name]
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width) if rotary is None else None
        self.blocks = nn.ModuleList(Block(width, heads, rotary) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if rotary is None:
            self.head.weight = self.tokens.weight
        else:
            rotated = int(rotary * width / heads)
            steps = torch.arange(positions)[:, None] * 10000.0 ** -(torch.arange(0, rotated, 2) / rotated)
            angles = torch.cat((steps, steps), dim=-1)
            self.register_buffer("cos", angles.cos(), persistent=False)
            self.register_buffer("sin", angles.sin(), persistent=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens, targets):
        length = tokens.shape[1]
        x, angles = self.tokens(tokens), None
        if self.positions is not None:
            x = x + self.positions(torch.arange(length, device=tokens.device))
        else:
            angles = (self.cos[:length], self.sin[:length])
        for block in self.blocks:
            x = block(x, angles)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def train(args):
    torch.manual_seed(0)
    begun = time.perf_counter()
    model = Model(args.model).cuda()
    decayed = [p for p in model.parameters() if p.dim() > 1]
    other = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95), eps=1e-8, fused=True)
    computes = torch.compile(model) if args.compile else model
    low = torch.autocast("cuda", torch.bfloat16) if args.dtype == "bf16" else contextlib.nullcontext()
    seconds, first = [], None
    for _ in range(args.warmup + args.steps):
        batch = torch.randint(MODELS[args.model][3], (args.rows, args.length + 1), device="cuda")
        torch.cuda.synchronize()
        start = time.perf_counter()
        with low:
            loss = computes(batch[:, :-1], batch[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss = loss.item()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        first = first or time.perf_counter() - begun
    return {
        "seconds_per_step": seconds[args.warmup :],
        "seconds_to_first_result": first,
        "parameters": sum(p.numel() for p in model.parameters()),
        "device_bytes": torch.cuda.max_memory_allocated(),
        "loss": loss,
    }


@torch.inference_mode()
def generate(args):
    from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    layers, width, heads, vocabulary, positions, rotary = MODELS[args.model]
    if rotary is None:
        model = GPT2LMHeadModel(GPT2Config())
    else:
        sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
        config = GPTNeoXConfig(
            vocab_size=vocabulary, intermediate_size=4 * width, max_position_embeddings=positions, **sizes
        )
        model = GPTNeoXForCausalLM(config)
    model = model.eval().to("cuda", DTYPES[args.dtype])
    ids = torch.tensor([[i * 7919 % vocabulary for i in range(args.prompt)]], device="cuda")
    rounds = []
    for _ in range(args.warmup + args.steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        out = model(ids, use_cache=True, logits_to_keep=1)
        token = out.logits[:, -1:].argmax(-1)
        token.item()
        prefill = time.perf_counter() - start
        for _ in range(args.new - 1):
            out = model(token, past_key_values=out.past_key_values, use_cache=True)
            token = out.logits[:, -1:].argmax(-1)
            token.item()
        rounds.append((prefill, (time.perf_counter() - start - prefill) / (args.new - 1)))
    rounds = rounds[args.warmup :]
    return {
        "prefill_seconds": statistics.median(r[0] for r in rounds),
        "decode_seconds_per_token": statistics.median(r[1] for r in rounds),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", choices=["train", "generate"])
    parser.add_argument("--model", choices=MODELS, default="gpt2")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--float32-matmul-precision", choices=["highest", "high"], default="highest", help="high: TF32")
    parser.add_argument("--rows", type=int, default=8, help="sequences in a batch")
    parser.add_argument("--length", type=int, default=1024, help="tokens in a sequence")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--new", type=int, default=64, help="tokens that are generated")
    parser.add_argument("--steps", type=int, default=10, help="steps or generations that are timed")
    parser.add_argument("--warmup", type=int, default=3, help="those before")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    args = parser.parse_args()
    torch.set_float32_matmul_precision(args.float32_matmul_precision)
    result = {"train": train, "generate": generate}[args.work](args)
    print(json.dumps({**result, "torch": torch.__version__, "device": torch.cuda.get_device_name()}))


if __name__ == "__main__":
    main()
