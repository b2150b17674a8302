#!/usr/bin/env bash
# Whether CUDA computes what flex computes, and how long the first step of GPT-2 124M takes, without caches and with them.
#
#     tools/gpu/check.sh PROGRAMS OUT
#
# PROGRAMS is a folder with train_step and suite (the test program of contextlm-tests, built with --features cuda-cpp); OUT gets the
# logs. Tests and cold starts run side by side, each with a cache of its own: they compile on one core each and need the GPU
# little; a cold start alone is quicker. Every part has a limit, so that one that hangs costs no more than that. The exit status is 1
# if a part has failed.
set -u
(($# >= 2)) || { sed -n '2,/^set/{/^set/!p}' "$0"; exit 2; }
programs=$(realpath "$1") out=$(mkdir -p "$2" && realpath "$2")
work=${WORK:-$(mktemp -d)} failed=$(mktemp)
limit=${LIMIT:-600}
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$out/device.txt"

# in_cache NAME COMMAND...: a process with a cache of kernels of its own.
in_cache() {
    local cache=$work/$1
    shift
    mkdir -p "$cache" && cd "$cache" || return
    printf '[compilation]\ncache = true\n[environment]\npath = { directory = "%s" }\n' "$cache" >cubecl.toml
    CUDA_CACHE_PATH=$cache/nv timeout "$limit" "$@"
}
# over NAME STATUS
over() {
    echo "$1: exit $2"
    (($2 == 0)) || echo "$1" >>"$failed"
}
# step CACHE NAME ARGUMENTS...: a training run; CACHE ends in the level of autotuning.
step() {
    local cache=$1 name=$2
    shift 2
    CUBECL_AUTOTUNE_LEVEL=${cache##*-} in_cache "$cache" "$programs/train_step" --preset gpt2 --rows 8 --length 1024 \
        --warmup 3 --steps 5 --device cuda:0 --json "$@" >"$out/$name.json" 2>"$out/$name.log"
    over "$name" $?
    grep '^step' "$out/$name.log"
}
for level in minimal balanced; do
    (
        step "bf16-$level" "cold-bf16-$level" --dtype bf16
        step "bf16-$level" "warm-bf16-$level" --dtype bf16 --kernels
    ) &
done
for filter in backends:: gpu::gpt_2 gpu::gpt_neox gpu::llama gpu::bf16 gpu::training; do
    name=test-${filter//::/-}
    (
        CONTEXTLM_TEST_DEVICES=cuda CUBECL_AUTOTUNE_LEVEL=minimal \
            in_cache "$name" "$programs/suite" "$filter" --nocapture --test-threads 1 >"$out/$name.log" 2>&1
        over "$filter" $?
        echo "$filter: $(grep -c '^cuda' "$out/$name.log") comparisons"
        grep -E '^test result|panicked' "$out/$name.log" | head -5
    ) &
done
wait
python3 - "$out"/*.json <<'P'
import json, statistics, sys
for path in sys.argv[1:]:
    for line in open(path):
        found = json.loads(line)
        seconds = statistics.median(found["seconds_per_step"])
        print(f"{path}: first result after {found['seconds_to_first_result']:.1f} s, then {1e3 * seconds:.1f} ms a step,",
              f"{found['tokens_per_step'] / seconds:.0f} tokens/s, {(found['device_bytes'] or 0) / 2**30:.1f} GiB")
P
[[ ! -s $failed ]]
