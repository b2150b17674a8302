#!/usr/bin/env python3
"""Checks that `transformers` computes what we compute from the directories that `contextlm export` writes.

    pip install torch==2.9.0 transformers==4.57.1 safetensors==0.8.0 numpy
    python3 tools/check_python_export.py target/debug/contextlm crates/contextlm-weights/tests/fixtures

Exports every model directory below the folder, with the Python code where it is a ContextLM, loads it with
`AutoModelForCausalLM`, compares the log-probabilities of a few tokens with those of `contextlm score`, and lets `generate`
write a few; some of them also in shards, in bf16 and in f16. Then makes ContextLMs of plain checkpoints, in both dialects of
config.json, and loads what is exported in bf16 and in f16 without naming a type and with every type. At last writes a ContextLM
of every fusion with every pooling in three families with the PyTorch reference, and compares what both make of it. Exits with
1 at the first difference.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
import write_contextlm_fixtures as fixtures
from transformers import AutoModelForCausalLM

FUSIONS = ["add", "normed_add", "gated_add", "projected_add", "concat", "interleave"]
POOLINGS = ["mean", "last", "first", "max", "learned"]


def ours(program, *words):
    done = subprocess.run([program, *map(str, words), "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(program, folder, tokens, logprobs, limit=1e-4):
    found = ours(program, "score", "--model", folder, "--tokens", " ".join(map(str, tokens[0].tolist())))
    difference = (logprobs - torch.tensor(found["logprobs"])).abs().max().item()
    if not difference < limit:
        sys.exit(f"{folder.name}: log-probabilities differ by {difference}")
    return difference


def logprobs_of(model, tokens):
    with torch.no_grad():
        logits = model(tokens).logits.float()
    return logits.log_softmax(-1)[0, :-1].gather(1, tokens[0, 1:, None])[:, 0], max(1, logits.abs().max().item())


def check(program, source, scratch, *how):
    config = json.loads((source / "config.json").read_text())
    contextlm = config["model_type"] == "contextlm"
    folder = Path(scratch) / (source.name + "".join(how).replace("-", "_"))
    ours(program, "export", "--from", source, "--out", folder, *(["--with-python"] if contextlm else []), *how)

    model, report = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=contextlm, output_loading_info=True, torch_dtype=torch.float32
    )
    model.eval()
    wrong = {kind: names for kind, names in report.items() if names}
    if wrong:
        sys.exit(f"{source.name}: transformers reports {wrong}")
    vocabulary = model.get_input_embeddings().num_embeddings
    tokens = torch.randint(vocabulary, (1, 10), generator=torch.Generator().manual_seed(0))
    logprobs, _ = logprobs_of(model, tokens)
    difference = compare(program, folder, tokens, logprobs)
    written = model.generate(tokens[:, :5], max_new_tokens=5, do_sample=False, use_cache=False, pad_token_id=0)
    if written.shape[1] <= 5:
        sys.exit(f"{source.name}: generate has written nothing")
    return difference


def check_combination(program, scratch, number, family, fusion, pooling):
    folder = Path(scratch) / f"{family.__name__}_{fusion}_{pooling}"
    # Of 12 tokens, chunks of 3 leave none over and chunks of 5 do; a fusion with a pooling has both, in different families.
    chunk_size = 3 if (number + number // 30) % 2 else 5
    context = dict(fusion=fusion, pooling=pooling, chunk_size=chunk_size)
    torch.manual_seed(number)
    model = fixtures.write_model(folder, family(), context)
    tokens = torch.randint(fixtures.VOCABULARY, (1, 12))
    logprobs, _ = logprobs_of(model, tokens)
    return compare(program, folder, tokens, logprobs)


def check_imported(program, source, scratch, dtype):
    """A plain checkpoint as a ContextLM in a half type, as the docs load it and with every type. Its config names types, its
    own and its backbone's."""
    plain, folder = Path(scratch) / f"plain_{source.name}_{dtype}", Path(scratch) / f"imported_{source.name}_{dtype}"
    ours(program, "import", "--from", source, "--out", plain, "--context", "fusion=normed_add")
    ours(program, "export", "--from", plain, "--out", folder, "--with-python", "--dtype", dtype)
    tokens = torch.randint(61, (1, 10), generator=torch.Generator().manual_seed(0))
    worst = 0
    for types in ({}, *({"torch_dtype": name} for name in ("auto", torch.float32, torch.bfloat16))):
        model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, **types).eval()
        held = {parameter.dtype for parameter in model.parameters()}
        if len(held) > 1:
            sys.exit(f"{folder.name}, loaded with {types}: parameters of {held}")
        logprobs, largest = logprobs_of(model, tokens)
        whole = held == {torch.float32}
        difference = compare(program, folder, tokens, logprobs, 1e-4 if whole else 2e-2 * largest)
        worst = max(worst, difference if whole else 0)
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="the contextlm program")
    parser.add_argument("models", type=Path, help="folder of model directories, and of folders of them")
    args = parser.parse_args()
    program = args.program.resolve()
    # What transformers 5 has written, 4 cannot always read.
    newer = "v5_" if transformers.__version__.startswith("4.") else None
    sources = sorted(path.parent for path in args.models.glob("**/config.json"))
    sources = [source for source in sources if newer is None or not source.name.startswith(newer)]
    if not sources:
        sys.exit(f"{args.models}: no model directory below it")
    with tempfile.TemporaryDirectory() as scratch:
        worst = max(check(program, source, scratch) for source in sources)
        print(f"{len(sources)} models: log-probabilities differ by at most {worst:.1e}, and generate runs")
        some = [args.models / name for name in ("gpt2", "neox", "llama", "contextlm/neox_defaults")]
        ways = [("--max-shard-bytes", "4000"), ("--dtype", "bf16"), ("--dtype", "f16")]
        worst = max(check(program, source, scratch, *way) for source in some for way in ways)
        print(f"{len(some)} models in shards, in bf16 and in f16: at most {worst:.1e}")
        plain = [args.models / name for name in ("gpt2", "neox", "llama", "v5_gpt2", "v5_neox", "v5_llama", "v5_qwen2")]
        worst = max(check_imported(program, source, scratch, dtype) for source in plain for dtype in ("bf16", "f16"))
        print(f"{len(plain)} models made ContextLMs, in bf16 and in f16, loaded as any type: in f32 at most {worst:.1e}")
        combinations = list(itertools.product((fixtures.gpt2, fixtures.neox, fixtures.llama), FUSIONS, POOLINGS))
        worst = max(check_combination(program, scratch, number, *each) for number, each in enumerate(combinations))
        print(f"{len(combinations)} ContextLMs of every fusion and pooling: at most {worst:.1e}")


if __name__ == "__main__":
    main()
