#!/usr/bin/env python3
"""Writes rows of tests/fixtures/hub to tests/fixtures/hub_parquet, as the Parquet files that the Hugging Face hub would have of them.

    $(tools/install_lm_eval.sh) tools/write_hub_fixture.py

It is the library `datasets` that writes the hub's files.
"""

import json
from pathlib import Path

from datasets import Dataset

FIXTURES = Path(__file__).resolve().parent.parent / "tests/fixtures/hub"

for task in ("arc_easy", "hellaswag"):
    rows = [json.loads(line) for line in open(FIXTURES / f"{task}.jsonl")]
    Dataset.from_list(rows).to_parquet(FIXTURES.with_name("hub_parquet") / f"{task}.parquet")
