#!/usr/bin/env python3
"""PyTorch's side of `contextlm bench --against torch`.

    pip install torch==2.9.0 transformers==4.57.1      # tools/install_libtorch.sh sets one up
    cargo run --release -p contextlm-cli -- bench --against torch

Answers requests on stdin, a line of JSON each, as our own side does (crates/contextlm-bench/src/request.rs):

- training: a plain model on random tokens with AdamW, in eager mode; bf16 is autocast. GPT-2 is the compact model below,
  which is faster than that of `transformers`; other families are theirs.
- generation: `transformers` with its cache, greedily, called directly, without the overhead of `generate`.
- loading: safetensors' `load_file` into a model that is built without initial values, every tensor copied: they are pages
  of the file until then.
- tokenising: `encode_batch` of `tokenizers` on texts that are in memory already; the ids are thrown away.

Memory is RssAnon, looked at every millisecond, above that of the process before the first request.
"""

import argparse
import json
import os
import sys
import threading
import time

import torch
import torch.nn.functional as F
import transformers
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

VERSIONS = f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
# Texts are encoded in groups of so many bytes, since an encoding takes about fifty times its text.
GROUP_BYTES = 8 << 20


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
    """GPT-2: tokens and targets [B, T] -> mean cross-entropy."""

    def __init__(self, config):
        super().__init__()
        width = config["n_embd"]
        self.tokens = nn.Embedding(config["vocab_size"], width)
        self.positions = nn.Embedding(config["n_positions"], width)
        self.blocks = nn.ModuleList(Block(width, config["n_head"]) for _ in range(config["n_layer"]))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config["vocab_size"], bias=False)
        if config["tie_word_embeddings"]:
            self.head.weight = self.tokens.weight
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class FromTransformers(nn.Module):
    """A model of `transformers`: tokens and targets [B, T] -> mean cross-entropy."""

    def __init__(self, config):
        super().__init__()
        self.model = from_config(config)

    def forward(self, tokens, targets):
        logits = self.model(tokens, use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def from_config(config):
    config = dict(config)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(config.pop("model_type"), **config))


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def sync(device):
    if device == "cuda":
        torch.cuda.synchronize()


class Training:
    """One model, trained on through all rounds."""

    def __init__(self, request, device):
        config = request["config"]
        self.device, self.low = device, request["dtype"] == "bf16"
        self.model = (Gpt if config["model_type"] == "gpt2" else FromTransformers)(config).to(device).train()
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        other = [p for p in self.model.parameters() if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95), eps=1e-8)
        self.shape, self.vocabulary = (request["rows"], request["length"] + 1), config["vocab_size"]

    def step(self):
        batch = torch.randint(self.vocabulary, self.shape).to(self.device)
        start = time.perf_counter()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.low):
            loss = self.model(batch[:, :-1], batch[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        loss.item()
        sync(self.device)
        return dict(work="training", seconds=time.perf_counter() - start, tokens=batch[:, 1:].numel())

    def measure(self, request, watch):
        for _ in range(request["warmup"]):
            self.step()
        with watch:
            return [self.step() for _ in range(request["steps"])], parameters(self.model)


class Generation:
    def __init__(self, request, device):
        self.device = device
        self.model = from_config(request["config"]).eval().to(device)
        rows, length, vocabulary = request["rows"], request["length"], request["config"]["vocab_size"]
        ids = [(i * 7919 + i * i // 3) % vocabulary for i in range(rows * length)]
        self.prompts = torch.tensor(ids, device=device).view(rows, length)

    @torch.inference_mode()
    def measure(self, request, watch):
        with watch:
            start, steps = time.perf_counter(), request["new_tokens"] - 1
            out = self.model(self.prompts, use_cache=True, logits_to_keep=1)
            token = out.logits[:, -1:].argmax(-1)
            token.tolist()
            prefill = time.perf_counter() - start
            for _ in range(steps):
                out = self.model(token, past_key_values=out.past_key_values, use_cache=True)
                token = out.logits[:, -1:].argmax(-1)
                token.tolist()
            decode = time.perf_counter() - start - prefill
        samples = [dict(work="prefill", seconds=prefill, tokens=self.prompts.numel())]
        if steps > 0:
            samples.append(dict(work="decode", seconds=decode / steps, tokens=request["rows"]))
        return samples, parameters(self.model)


def load(request, device, watch):
    from pathlib import Path

    from safetensors.torch import load_file

    folder = Path(request["dir"])
    with watch:
        start = time.perf_counter()
        tensors = {}
        for path in sorted(folder.glob("*.safetensors")):
            tensors |= load_file(path)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
        # `assign` takes the tensors over, which is PyTorch's fastest way.
        model.load_state_dict(tensors, strict=False, assign=True)
        model.tie_weights()
        for parameter in model.parameters():
            parameter.data = parameter.data.clone() if device == "cpu" else parameter.data.to(device)
        sync(device)
        seconds = time.perf_counter() - start
    return [dict(work="loading", seconds=seconds)], parameters(model)


def tokenise(request, watch):
    tokenizer = Tokenizer.from_file(request["tokenizer"])
    tokenizer.encode_special_tokens = True
    with open(request["text"], encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    tokens = 0
    with watch:
        start = time.perf_counter()
        group, size = [], 0
        for number, text in enumerate(texts):
            group.append(text)
            size += len(text)
            if size > GROUP_BYTES or number + 1 == len(texts):
                tokens += sum(len(found.ids) for found in tokenizer.encode_batch(group, add_special_tokens=False))
                group, size = [], 0
        seconds = time.perf_counter() - start
    return [dict(work="tokenising", seconds=seconds, tokens=tokens)], 0


def rss_anon():
    """Anonymous memory of this process in bytes, None where the system does not tell."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) << 10
    except OSError:
        return None


class Watch:
    """The largest anonymous memory while it is entered."""

    def __init__(self):
        self.peak, self.running = rss_anon(), False

    def __enter__(self):
        self.peak, self.running = rss_anon(), self.peak is not None
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while self.running:
            self.peak = max(self.peak, rss_anon())
            time.sleep(0.001)

    def __exit__(self, *_):
        self.running = False
        self.thread.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    transformers.logging.set_verbosity_error()
    empty, held, held_for = rss_anon(), None, None
    for line in sys.stdin:
        request = json.loads(line)
        group, watch = request["group"], Watch()
        try:
            if group in ("training", "generation"):
                wanted = {key: request.get(key) for key in ("group", "config", "rows", "length", "dtype")}
                if held_for != wanted:
                    held = None  # the old one goes first
                    held = (Training if group == "training" else Generation)(request, args.device)
                    held_for = wanted
                samples, count = held.measure(request, watch)
            elif group == "loading":
                samples, count = load(request, args.device, watch)
            else:
                samples, count = tokenise(request, watch)
            peak = None if watch.peak is None else max(watch.peak - empty, 0)
            reply = dict(answer=dict(samples=samples, parameters=count, peak_bytes=peak, program=VERSIONS))
        except Exception as error:  # whatever it is, the other side shows it
            reply = dict(error=f"{type(error).__name__}: {error}")
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
