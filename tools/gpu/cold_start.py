#!/usr/bin/env python3
"""Where the first step's time went: what CubeCL wrote down of every compilation and every tuning in its cache of kernels.

    pip install cbor2
    python3 tools/gpu/cold_start.py ~/.cache/cubecl/default.db

For every process that compiled or tuned: kernels compiled and loaded with their seconds, by kind; keys tuned, with the
candidates that were tried and the seconds, by what was tuned. Tuning runs the candidates, so its seconds hold those of
compiling them.
"""

import argparse
import collections
import sqlite3
from pathlib import Path

import cbor2


def seconds(duration):
    return duration["secs"] + duration["nanos"] / 1e9


def records(database, kind):
    rows = database.execute("SELECT value FROM entries WHERE namespace = ?", (f"records/v1/{kind}",))
    found = [cbor2.loads(value) for (value,) in rows]
    return sorted(found, key=lambda x: (x["stamp"]["session"], x["stamp"]["seq"]) if "stamp" in x else (x["id"], 0))


def short(name):
    return name.split("<")[0].split("::")[-1]


def top(sums, what, limit):
    print(f"  {what}: {sum(n for n, _ in sums.values())} in {sum(s for _, s in sums.values()):.1f} s")
    for name, (number, took) in sorted(sums.items(), key=lambda item: -item[1][1])[:limit]:
        print(f"    {took:8.2f} s {number:5}  {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=12, help="lines of a table")
    args = parser.parse_args()
    for path in args.database:
        database = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
        compilations, tunings = records(database, "compilation"), records(database, "autotune")
        for session in records(database, "sessions"):
            print(f"{path}, process {session['process']}")
            kinds = collections.defaultdict(lambda: collections.defaultdict(lambda: (0, 0.0)))
            last = 0.0
            for one in compilations:
                if one["stamp"]["session"] == session["id"]:
                    record = one["record"]
                    sums, name = kinds[record["outcome"].lower()], short(record["kernel"])
                    took = seconds(record["duration"])
                    sums[name] = (sums[name][0] + 1, sums[name][1] + took)
                    last = max(last, seconds(one["stamp"]["offset"]) + took)
            for outcome, sums in kinds.items():
                top(sums, outcome, args.limit)
            sums, tries = collections.defaultdict(lambda: (0, 0.0)), 0
            for one in tunings:
                if one["stamp"]["session"] == session["id"]:
                    record = one["record"]
                    name = record["table"]
                    sums[name] = (sums[name][0] + 1, sums[name][1] + seconds(record["wall"]))
                    tries += len(record["trials"])
                    last = max(last, seconds(one["stamp"]["offset"]) + seconds(record["wall"]))
            top(sums, f"tuned, {tries} candidates tried", args.limit)
            print(f"  the last of them {last:.1f} s after the start")


if __name__ == "__main__":
    main()
