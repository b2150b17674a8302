#!/usr/bin/env bash
# Whether CUDA computes what flex computes, and how long the first step takes, without caches and with them.
#
#     tools/gpu/check.sh PROGRAMS OUT
#
# PROGRAMS is a folder with train_step and suite (the test program of contextlm-tests, built with --features cuda); OUT gets the
# logs. Every part has a limit of its own, so that one that hangs costs no more than that.
set -u
programs=$(realpath "$1") out=$(mkdir -p "$2" && realpath "$2")
work=$(mktemp -d)
cd "$work"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$out/device.txt"

# step NAME LEVEL CACHE ARGUMENTS...: one training run in a process of its own, with a cache of kernels of its own.
step() {
    local name=$1 level=$2 cache=$3
    shift 3
    printf '[compilation]\ncache = true\n[environment]\npath = { directory = "%s" }\n' "$work/$cache" >cubecl.toml
    echo "== $name: train_step $*"
    CUBECL_AUTOTUNE_LEVEL=$level timeout "${STEP_LIMIT:-150}" "$programs/train_step" --device cuda:0 --json "$@" \
        >"$out/$name.json" 2>"$out/$name.log"
    echo "exit $?"
    python3 - "$out/$name.json" <<'P'
import json, statistics, sys
for line in open(sys.argv[1]):
    found = json.loads(line)
    seconds = found["seconds_per_step"]
    print(f"first result after {found['seconds_to_first_result']:.1f} s, then {1e3 * statistics.median(seconds):.1f} ms a step,",
          f"{found['tokens_per_step'] / statistics.median(seconds):.0f} tokens/s, {(found['device_bytes'] or 0) / 2**30:.1f} GiB")
P
    grep '^step [123]:' "$out/$name.log"
}
gpt2="--preset gpt2 --rows 8 --length 1024 --warmup 3 --steps 5"
step cold-balanced balanced balanced $gpt2 --dtype bf16
step warm-balanced balanced balanced $gpt2 --dtype bf16 --kernels
step cold-minimal minimal minimal $gpt2 --dtype bf16
step warm-minimal minimal minimal $gpt2 --dtype bf16
step cold-context minimal minimal $gpt2 --dtype bf16 --context
sed -n '/  kernel, /,$p' "$out/warm-balanced.log" | head -40
for cache in balanced minimal; do
    # What CubeCL tells of every compilation and every tuning, for tools/gpu/cold_start.py.
    cp "$work/$cache/default.db" "$out/$cache.db" && xz -T0 "$out/$cache.db"
done

# Tests side by side: their time does not count.
for filter in backends:: gpu::gpt_2 gpu::gpt_neox gpu::llama gpu::training; do
    name=test-${filter//::/-}
    (
        printf '[environment]\nname = "%s"\npath = { directory = "%s" }\n' "$name" "$work" >"$work/$name.toml"
        mkdir -p "$work/$name" && cd "$work/$name" && mv "$work/$name.toml" cubecl.toml
        CONTEXTLM_TEST_DEVICES=cuda CUBECL_AUTOTUNE_LEVEL=minimal timeout "${TEST_LIMIT:-200}" \
            "$programs/suite" "$filter" --nocapture --test-threads 1 >"$out/$name.log" 2>&1
        echo "$filter: exit $?, $(grep -c '^cuda' "$out/$name.log") comparisons"
        grep -E '^test result|panicked|differs' "$out/$name.log" | head -5
    ) &
done
wait
