#!/usr/bin/env bash
# The example of docs/src/contexts.md: three tiny models on the Rust code of this repository, and what their contexts know.
#
#     tools/contexts_example.sh target/debug/contextlm OUT
#
# OUT gets the shards, the runs, w2.html and w4.html, and the numbers as w2.json and w4.json.
set -euo pipefail
program=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")/.."

"$program" prepare --tokenizer tests/fixtures/tasks/tokenizer.json --out "$out/shards" --valid examples --valid tests/suite crates

# train RECIPE NAME KEY=VALUE...: on 204,800 tokens.
train() {
    local recipe=$1 name=$2 sets=()
    shift 2
    for set in "$@" checkpoint.dir="$out/$name" data.train="$out/shards/train" data.valid="$out/shards/valid" \
        model.backbone.vocab_size=710 model.backbone.n_positions=128 model.backbone.n_embd=64 model.backbone.n_layer=3 \
        data.sequence_length=128 train.steps=200 train.batch_tokens=1024 train.micro_batch=8 optimizer.lr=3e-3; do
        sets+=(--set "$set")
    done
    "$program" train "recipes/small-$recipe.toml" "${sets[@]}"
}
train constant constant
train contextlm w2
train contextlm w4 model.context.chunk_size=4

for name in w2 w4; do
    model=("$out/$name"/step-*)
    control=("$out"/constant/step-*)
    "$program" eval context --model "${model[-1]}" --control "${control[-1]}" --shards "$out/shards/valid" \
        --limit 16384 --probe-samples 3000 --report "$out/$name.html" --json >"$out/$name.json"
done
