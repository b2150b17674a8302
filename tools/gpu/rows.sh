#!/usr/bin/env bash
# The whole comparison: every row of tools/gpu/compare.sh with every seed, then contextlm compare and contextlm eval context.
#
#     SEEDS="0 1" tools/gpu/rows.sh PROGRAMS OUT SHARDS CACHES
#
# GPUs take the next run as they get free: seed after seed, and the rows of a seed in the order of ROWS. A run that is over is left
# alone and one that was broken off begins anew, so that the script can be started again. OUT gets comparison.json, comparison.html,
# context-ROW-SEED.json and summary.txt; the runs with their checkpoints are in OUT/ROW/seed-SEED.
# Variables: SEEDS (0 1), ROWS (all six), GPUS (0), CONTEXT_TOKENS (131072, those of eval context), and those of compare.sh.
set -u
(($# == 4)) || { sed -n '2,/^set/{/^set/!p}' "$0"; exit 2; }
here=$(dirname "$0")
programs=$(realpath "$1") out=$(mkdir -p "$2" && realpath "$2") shards=$3 caches=$4
rows=${ROWS:-contextlm-w2 constant-deep contextlm-w4 plain constant plain-deep}
queue=$(mktemp)
for seed in ${SEEDS:-0 1}; do
    for row in $rows; do
        echo "$row $seed"
    done
done >"$queue"

# next: takes the first line of the queue.
next() {
    (
        flock 9
        head -1 "$queue"
        sed -i 1d "$queue"
    ) 9>"$queue.lock"
}
worker() {
    local row seed
    while read -r row seed < <(next) && [[ -n ${row:-} ]]; do
        [[ -s $out/$row-$seed.json ]] && continue
        rm -rf "$out/$row/seed-$seed"
        GPU=$1 "$here/compare.sh" "$programs" "$out" "$shards" "$caches" "$row" "$seed" | \
            tee -a "$out/summary.txt"
    done
}
for gpu in ${GPUS:-0}; do
    worker "$gpu" &
done
wait

# Differences are to the first group: what the contexts add is the difference to the better of the controls.
groups=()
for row in constant constant-deep plain plain-deep contextlm-w4 contextlm-w2; do
    [[ -d $out/$row ]] && groups+=("$out/$row")
done
failed=0
for seed in ${SEEDS:-0 1}; do
    for row in $rows; do
        [[ -s $out/$row-$seed.json ]] && continue
        echo "$row, seed $seed has failed: $(tail -1 "$out/$row-$seed.log")" >&2
        failed=1
    done
done
if ((${#groups[@]} > 1 && failed == 0)); then
    "$programs/contextlm" compare "${groups[@]}" --out "$out/comparison.html" | tee "$out/comparison.txt"
    "$programs/contextlm" compare "${groups[@]}" --json | tail -1 >"$out/comparison.json"
fi
shopt -s nullglob
for run in "$out"/contextlm-w?/seed-*; do
    row=$(basename "$(dirname "$run")") model=$(find "$run" -maxdepth 1 -name 'step-*' | sort | tail -1)
    [[ -n $model ]] || continue
    echo "what the contexts of $run know"
    "$programs/contextlm" eval context --model "$model" --shards "$shards/valid" --limit "${CONTEXT_TOKENS:-131072}" --json \
        --device "${DEVICE:-cuda:0}" | tail -1 >"$out/context-$row-$(basename "$run").json"
done
exit "$failed"
