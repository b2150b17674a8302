#!/usr/bin/env python3
"""Checks `contextlm eval tasks` against lm-evaluation-harness 0.4.13 with transformers 4.57.1, on the CPU.

    python=$(tools/install_lm_eval.sh)
    $python tools/check_lm_eval.py target/debug/contextlm                    # small random models of its own
    $python tools/check_lm_eval.py target/debug/contextlm --model DIR        # a checkpoint with its tokenizer
    $python tools/check_lm_eval.py target/release/contextlm --bench 500      # the time of HellaSwag questions

Both are asked the same examples: 10 of each task of tests/fixtures/tasks; rows as the hub has them, of
tests/fixtures/hub, which the harness turns into requests by its own task files; and, where CONTEXTLM_DATA is set, 50 of
each task in it (3 pages of wikitext). The log-likelihood of every request must agree to 1e-3, accuracies must be equal,
perplexities and standard errors as close as that makes them. Exits with 1 at the first difference.

The harness gets local JSON files and no network. Text of choices has its own leading space in our data: here it is
stripped, and the harness puts it back as its `target_delimiter`.
"""

import argparse
import contextlib
import gzip
import io
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

PINNED = {"lm_eval": "0.4.13", "transformers": "4.57.1", "torch": "2.9.0"}
for name, pinned in PINNED.items():
    if version(name).split("+")[0] != pinned:
        sys.exit(f"{name} is {version(name)}, not {pinned}: run tools/install_lm_eval.sh")
scratch_of_datasets = tempfile.TemporaryDirectory()
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_CACHE": scratch_of_datasets.name,
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "DISABLE_MULTIPROC": "1",
}

import torch  # noqa: E402
from lm_eval import simple_evaluate  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from lm_eval.tasks._yaml_loader import load_yaml  # noqa: E402
from lm_eval.tasks.wikitext import preprocess_wikitext  # noqa: E402
from transformers import (  # noqa: E402
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedTokenizerFast,
)

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests/fixtures/tasks"
HUB_ROWS = ROOT / "tests/fixtures/hub"
TASKS = "lambada_openai hellaswag piqa arc_easy arc_challenge winogrande sciq openbookqa boolq blimp wikitext".split()
ACC, ACC_NORM = ["acc"], ["acc", "acc_norm", "acc_bytes"]
THREADS = 2
TOLERANCE = 1e-3


def lines(path):
    """The records of a .jsonl file, plain or compressed."""
    if path.suffix == ".zst":
        raw = subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout
    elif path.suffix == ".gz":
        raw = gzip.decompress(path.read_bytes())
    else:
        raw = path.read_bytes()
    return [json.loads(line) for line in io.StringIO(raw.decode()) if line.strip()]


def pages(path):
    """The pages of raw WikiText as EleutherAI/wikitext_document_level cuts them."""
    found, page = [], []
    for line in path.read_text().split("\n"):
        heading = line.replace("= = =", "===").replace("= =", "==").strip()
        if heading.startswith("= ") and heading.endswith(" ="):
            found.append("\n".join(page))
            page = []
        page.append(line)
    found.append("\n".join(page))
    return [{"page": page} for page in found if page.strip()]


def fixtures(folder=FIXTURES):
    return {task: lines(folder / f"{task}.jsonl") for task in TASKS}


def given(data, count):
    """The first examples of each task that is there; of blimp two of each of the first groups; 3 pages of wikitext."""
    found = {}
    for task in TASKS:
        paths = [path for ending in ("", ".zst", ".gz") for path in data.glob(f"tasks/{task}.jsonl{ending}")]
        if task == "blimp" and paths:
            rows, groups = [], {}
            for row in lines(paths[0]):
                groups[row["group"]] = groups.get(row["group"], 0) + 1
                if groups[row["group"]] <= 2 and len(groups) <= count // 2:
                    rows.append(row)
            found[task] = rows
        elif paths:
            found[task] = lines(paths[0])[:count]
    if (raw := data / "wikitext/wiki.test.raw").exists():
        found["wikitext"] = pages(raw)[:3]
    return found


def group_of(row):
    return row["group"] if "group" in row else row["UID"]


def parts(task, rows):
    """The rows by the harness's names of tasks: blimp is one for each group."""
    if task != "blimp":
        return {task: rows}
    groups = {}
    for row in rows:
        groups.setdefault(f"blimp_{group_of(row)}", []).append(row)
    return groups


def harness_tasks(task, rows, folder, shots):
    """The task as configurations of the harness, by name."""
    return {name: configuration(task, name, rows, folder, shots) for name, rows in parts(task, rows).items()}


def own_tasks(task, rows, folder, manager):
    """The harness's own tasks, with rows of the hub from a file in place of the hub."""
    made = {}
    for name, rows in parts(task, rows).items():
        path = folder / f"{name}.json"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        splits = {split: str(path) for split in ("train", "validation", "test")}
        made[name] = load_yaml(manager.task_index[name].yaml_path) | {
            "dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": splits},
        }
        for key in ("tag", "group"):
            made[name].pop(key, None)
    return made


def configuration(task, name, rows, folder, shots):
    path = folder / f"{name}.json"
    path.write_text("".join(json.dumps({"row": json.dumps(row)}) + "\n" for row in rows))

    def of(key):
        return lambda doc: json.loads(doc["row"])[key]

    stripped = lambda text: text.removeprefix(" ")  # noqa: E731
    made = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(path)}},
        "test_split": "test",
        "target_delimiter": " ",
        "output_type": "multiple_choice",
        "num_fewshot": shots,
        "fewshot_split": "test",
        "fewshot_config": {"sampler": "first_n"},
        "metadata": {"version": 1.0},
    }
    names = ACC
    if task == "blimp":
        made |= {"doc_to_text": "", "doc_to_target": 0}
        made["doc_to_choice"] = lambda doc: [of("good")(doc), of("bad")(doc)]
    elif task == "winogrande":
        made |= {"doc_to_text": of("gold"), "doc_to_choice": of("contexts")}
        made["doc_to_target"] = lambda doc: stripped(of("continuation")(doc))
    elif task == "lambada_openai":
        made |= {"output_type": "loglikelihood", "doc_to_text": of("context"), "doc_to_target": of("completion")}
        # The completion has its space: nothing comes between it and its context, in solved examples either.
        made["target_delimiter"] = ""
        names = ["perplexity", "acc"]
    elif task == "wikitext":
        made |= {"output_type": "loglikelihood_rolling", "doc_to_text": ""}
        page = lambda doc: {"page": of("page")(doc)}  # noqa: E731
        made["doc_to_target"] = lambda doc: preprocess_wikitext.wikitext_detokenizer(page(doc))
        made["process_results"] = lambda doc, results: preprocess_wikitext.process_results(page(doc), results)
        names = ["word_perplexity", "byte_perplexity", "bits_per_byte"]
    else:
        made |= {"doc_to_text": of("context"), "doc_to_target": of("gold")}
        made["doc_to_choice"] = lambda doc: [stripped(choice) for choice in of("choices")(doc)]
        names = ACC_NORM
    made["metric_list"] = [{"metric": metric} for metric in names]
    if task in ("blimp", "wikitext"):
        for key in ("num_fewshot", "fewshot_split", "fewshot_config"):
            made.pop(key)
    return made


def theirs(model, tasks):
    # Its progress bars would fill the log.
    with open(os.devnull, "w") as sink, contextlib.redirect_stderr(sink), contextlib.redirect_stdout(sink):
        found = simple_evaluate(model=model, tasks=list(tasks.values()), bootstrap_iters=10_000, log_samples=True)
    return found["results"], found["samples"]


def ours(program, model, data, tasks, out, shots=None, extra=()):
    names = ",".join(str(tasks[name]) for name in tasks)
    words = ["eval", "tasks", "--model", model, "--tasks", names, "--data", data, "--out", out, "--json"]
    words += ["--bootstrap-iters", "10000", *([] if shots is None else ["--shots", str(shots)]), *extra]
    # As many threads as --bench gives to the harness.
    environment = os.environ | {"RAYON_NUM_THREADS": str(THREADS)}
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    folder = next(path for path in Path(out).iterdir() if path.is_dir())
    samples = {name: [json.loads(line) for line in open(folder / f"samples_{name}.jsonl")] for name in tasks}
    return json.loads(done.stdout.splitlines()[-1]), samples


def write_data(data, folder, every_metric=True):
    """The rows as files, and task files, which count all metrics if that is wanted."""
    tasks = {}
    for task, rows in data.items():
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        text = (ROOT / f"crates/contextlm-eval/tasks/{task}.toml").read_text()
        if every_metric and 'shape = "choices"' in text:
            start = text.index("metrics = ")
            text = f'{text[:start]}metrics = {json.dumps(ACC_NORM)}{text[text.index("]", start) + 1 :]}'
        tasks[task] = folder / f"{task}.toml"
        tasks[task].write_text(text)
    return tasks


def likelihoods(sample):
    """The log-likelihoods of a sample of the harness, and whether each is greedy."""
    values = [response[0] for response in sample["resps"]]
    return [value if isinstance(value, (tuple, list)) else (value, None) for value in values]


def same(what, found, expected, tolerance):
    if not abs(found - expected) <= tolerance:
        sys.exit(f"{what}: {found}, the harness has {expected}")


def compare(label, data, ours_found, theirs_found):
    (results, samples), (their_results, their_samples) = ours_found, theirs_found
    worst, requests, cut = 0.0, 0, sum(results["truncated"].values())
    for task, rows in data.items():
        names = list(parts(task, rows))
        expected = [sample for name in names for sample in sorted(their_samples[name], key=lambda s: s["doc_id"])]
        order = range(len(rows)) if task != "blimp" else sorted(
            range(len(rows)), key=lambda n: names.index(f"blimp_{group_of(rows[n])}"))
        for number, sample in zip(order, expected, strict=True):
            mine = samples[task][number]
            values = mine["resps"]
            if task == "wikitext":
                values = [(sum(value for value, _ in values), None)]
            for (value, greedy), (theirs, their_greedy) in zip(values, likelihoods(sample), strict=True):
                # A page's is a sum over thousands of tokens.
                tolerance = TOLERANCE if task != "wikitext" else max(TOLERANCE, 1e-6 * abs(theirs))
                same(f"{label}: {task}, example {number}", value, theirs, tolerance)
                if their_greedy is not None and greedy != their_greedy:
                    sys.exit(f"{label}: {task}, example {number}: greedy is {greedy}")
                worst, requests = max(worst, abs(value - theirs)), requests + 1
        for name in names:
            for key, value in their_results[name].items():
                mine = results["results"][name].get(key)
                metric = key.split(",")[0]
                if not key.endswith(",none"):
                    continue
                if isinstance(value, str):
                    # The harness has no error of what is divided by words and bytes, nor of one example.
                    if "perplexity" not in key and "bits" not in key and mine != value:
                        sys.exit(f"{label}: {name} {key} is {mine}, the harness has {value}")
                elif metric == "perplexity_stderr":
                    # Drawn by either with numbers of its own; of a few unlikely examples a few draws decide.
                    if value < 0.2 * their_results[name]["perplexity,none"]:
                        same(f"{label}: {name} {key}", mine / value, 1.0, 0.1)
                elif "perplexity" in metric or "bits" in metric:
                    same(f"{label}: {name} {key}", math.log(mine / value), 0.0, TOLERANCE)
                else:
                    same(f"{label}: {name} {key}", mine, value, 1e-9)
    print(f"{label}: {len(data)} tasks, {requests} requests, {cut} cut on the left; log-likelihoods differ by at most {worst:.1e}")
    return cut


def make_model(kind, tokenizer, folder, **sizes):
    """A random checkpoint with a tokenizer, as `transformers` saves it."""
    torch.manual_seed(0)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer), bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    vocabulary = max(tokenizer.get_vocab().values()) + 1
    ends = tokenizer.eos_token_id
    ids = {"bos_token_id": ends, "eos_token_id": ends}
    if kind == "gpt2":
        config = dict(n_positions=128, n_embd=48, n_layer=2, n_head=2, initializer_range=0.3) | sizes
        model = GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, **ids, **config))
    else:
        config = dict(max_position_embeddings=128, hidden_size=48, num_hidden_layers=2, num_attention_heads=3)
        config |= dict(intermediate_size=96, initializer_range=0.3) | sizes
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**{"vocab_size": vocabulary + 27, **ids, **config}))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def check(program, label, model, data, shots=0, hub=None):
    """`hub`: the harness's tasks, where the rows are as the hub has them."""
    contextlm = json.loads((Path(model) / "config.json").read_text())["model_type"] == "contextlm"
    lm = HFLM(pretrained=str(model), device="cpu", dtype=torch.float32, batch_size=8, trust_remote_code=contextlm)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        (scratch / "data").mkdir()
        (scratch / "harness").mkdir()
        files = write_data(data, scratch / "data", every_metric=hub is None)
        mine = ours(program, model, scratch / "data", files, scratch / "out", shots)
        configurations = {}
        for task, rows in data.items():
            if hub:
                configurations |= own_tasks(task, rows, scratch / "harness", hub)
            else:
                configurations |= harness_tasks(task, rows, scratch / "harness", shots)
        return compare(label, data, mine, theirs(lm, configurations))


def check_all(program, model):
    found = given(Path(os.environ["CONTEXTLM_DATA"]), 50) if os.environ.get("CONTEXTLM_DATA") else {}
    if not found:
        print("CONTEXTLM_DATA is not set, or holds no tasks: only the examples of our own are compared")
    hub = TaskManager()
    if model:
        check(program, model, model, fixtures())
        check(program, f"{model}, rows of the hub", model, fixtures(HUB_ROWS), hub=hub)
        if found:
            check(program, f"{model}, CONTEXTLM_DATA", model, found)
        return
    with tempfile.TemporaryDirectory() as scratch:
        small = FIXTURES / "tokenizer.json"
        solved = {task: rows for task, rows in fixtures().items() if task not in ("blimp", "wikitext")}
        for kind in ("gpt2", "neox"):
            model = make_model(kind, small, Path(scratch) / kind)
            if check(program, f"{kind}, our own examples", model, fixtures()) == 0:
                sys.exit("no input was cut: the examples do not test that")
            check(program, f"{kind}, our own examples, 2 shots", model, solved, shots=2)
            check(program, f"{kind}, rows of the hub", model, fixtures(HUB_ROWS), hub=hub)
        if not found:
            return
        for kind, name in (("gpt2", "gpt2"), ("neox", "pythia")):
            tokenizer = Path(os.environ["CONTEXTLM_DATA"]) / f"tokenizers/{name}/tokenizer.json"
            model = make_model(kind, tokenizer, Path(scratch) / f"{kind}-{name}")
            check(program, f"{kind}, tokenizer of {name}, CONTEXTLM_DATA", model, found)


def bench(program, questions, rounds, first, batch_sizes):
    """Scores HellaSwag questions by turns on a random model of pythia-70m's shape, each side on two threads. Either time is
    that of the whole call, with the loading of the model."""
    torch.set_num_threads(THREADS)
    root = Path(os.environ["CONTEXTLM_DATA"])
    every = lines(root / "tasks/hellaswag.jsonl.zst")[first : first + questions]
    sizes = dict(vocab_size=50304, hidden_size=512, num_hidden_layers=6, num_attention_heads=8)
    sizes |= dict(intermediate_size=2048, max_position_embeddings=2048, initializer_range=0.02)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        model = make_model("neox", root / "tokenizers/pythia/tokenizer.json", scratch / "model", **sizes)
        pairs = []
        for number in range(rounds):
            data = {"hellaswag": every[number * questions // rounds : (number + 1) * questions // rounds]}
            folder = scratch / str(number)
            for name in ("data", "harness"):
                (folder / name).mkdir(parents=True)
            files = write_data(data, folder / "data")
            start = time.perf_counter()
            mine = ours(program, model, folder / "data", files, folder / "out")
            seconds = time.perf_counter() - start
            best = {}
            for batch_size in batch_sizes:
                tasks = harness_tasks("hellaswag", data["hellaswag"], folder / "harness", 0)
                start = time.perf_counter()
                lm = HFLM(pretrained=str(model), device="cpu", dtype=torch.float32, batch_size=batch_size)
                expected = theirs(lm, tasks)
                best[batch_size] = time.perf_counter() - start
            compare(f"questions {number + 1}/{rounds}", data, mine, expected)
            pairs.append((seconds, best))
            row = ", ".join(f"{value:.1f} s with batches of {size}" for size, value in best.items())
            print(f"ours {seconds:.1f} s; lm-eval {row}", flush=True)
        total = sum(seconds for seconds, _ in pairs)
        sums = {size: sum(best[size] for _, best in pairs) for size in batch_sizes}
        print(json.dumps({"questions": len(every), "first": first, "ours_seconds": total, "lm_eval_seconds": sums,
                          "ratio": min(sums.values()) / total}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="the contextlm program")
    parser.add_argument("--model", help="a checkpoint to compare on, instead of small random ones")
    parser.add_argument("--bench", type=int, metavar="N", help="measure the time of N HellaSwag questions instead")
    parser.add_argument("--rounds", type=int, default=4, help="turns that --bench takes")
    parser.add_argument("--first", type=int, default=0, help="the first question of --bench")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8], help="the harness's, the best of which counts")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    program = args.program.resolve()
    if args.bench:
        bench(program, args.bench, args.rounds, args.first, args.batch_sizes)
    else:
        check_all(program, args.model)


if __name__ == "__main__":
    main()
