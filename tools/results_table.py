"""Prints the runs of examples/training_well.rs as a Markdown table: mean and spread over seeds.

    python3 tools/results_table.py docs/results/stage-2

The spread is the largest minus the smallest of the seeds. Needs Python only.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean


def cell(values):
    if not values:
        return ""
    spread = f" ({max(values) - min(values):.4f})" if len(values) > 1 else ""
    return f"{mean(values):.4f}{spread}"


def main():
    models = defaultdict(list)
    for file in sorted(Path(sys.argv[1]).glob("*.json")):
        run = json.loads(file.read_text())
        models[run["name"]].append(run)
    if not models:
        sys.exit(f"{sys.argv[1]}: no results (*.json) in it")
    steps = sorted(int(step) for step in next(iter(models.values()))[0]["valid"])
    last = str(steps[-1])

    def losses(runs, step, key="loss"):
        return [run["valid"][str(step)][key] for run in runs if run["valid"][str(step)][key] is not None]

    def swapped(runs):
        # A constant context is the same in every text.
        return [] if runs[0]["name"].startswith("constant") else losses(runs, last, "with_contexts_of_another_text")

    heads = ["model", "parameters", "seeds", *(f"loss at {step}" for step in steps), f"at {last}, contexts of another text"]
    print("|", " | ".join(heads), "|")
    print("|---" * len(heads) + "|")
    for name, runs in sorted(models.items(), key=lambda model: mean(losses(model[1], last))):
        columns = [name, f"{runs[0]['parameters']['total']:,}", str(len(runs))]
        columns += [cell(losses(runs, step)) for step in steps] + [cell(swapped(runs))]
        print("|", " | ".join(columns), "|")


if __name__ == "__main__":
    main()
