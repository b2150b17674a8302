#!/usr/bin/env bash
# One row of the comparison on one GPU: a GPT-2 of 12 layers and width 512 (64 M parameters), one seed after another.
#
#     GPU=0 tools/gpu/compare.sh PROGRAMS OUT SHARDS CACHES ROW SEED...
#
# ROW is plain, plain-deep, constant, constant-deep, contextlm-w4 or contextlm-w2. CACHES has a folder of compiled kernels for
# every kind of row, which is made where it is not there. The runs are in OUT/ROW/seed-SEED, as contextlm compare takes them.
# Variables: DEVICE (cuda:0; libtorch-cuda:0 keeps no kernels), GPU (0), STEPS (100), WIDTH (512), HEADS (8), LENGTH (512), BATCH (32768 tokens), MICRO (32 rows), LR (1e-3),
# WARMUP (0.05 of the steps), DTYPE (bf16), EVAL_EVERY (0 steps: at the end), EVAL_TOKENS (262144), LIMIT (600 seconds a run).
set -u
(($# >= 6)) || { sed -n '2,/^set/{/^set/!p}' "$0"; exit 2; }
programs=$(realpath "$1") out=$(mkdir -p "$2" && realpath "$2") shards=$(realpath "$3") caches=$(mkdir -p "$4" && realpath "$4")
row=$5
shift 5
recipes=$(realpath "$(dirname "$0")/../../recipes")
length=${LENGTH:-512} layers=12 recipe=${row%-w?}
# The kernels of a plain model are among those of the control.
kind=${row%-deep} kind=${kind/plain/constant}
[[ $row == *-deep ]] && layers=14
chunk=()
[[ $row == contextlm-w? ]] && chunk=(--set "model.context.chunk_size=${row#contextlm-w}")
shape="model_type=\"gpt2\",vocab_size=50257,n_positions=$length,n_embd=${WIDTH:-512},n_layer=$layers,n_head=${HEADS:-8}"
shape="{$shape,resid_pdrop=0.0,embd_pdrop=0.0,attn_pdrop=0.0}"
for seed in "$@"; do
    cache=$caches/$kind
    # A copy, so that runs side by side do not write to the same file.
    [[ -d $cache && -n ${COPY:-} ]] && cp -r "$cache" "$cache-$row-$seed" && cache=$cache-$row-$seed
    mkdir -p "$cache" && cd "$cache" || exit
    printf '[compilation]\ncache = true\n[environment]\npath = { directory = "%s" }\n' "$cache" >cubecl.toml
    begun=$SECONDS
    CUDA_VISIBLE_DEVICES=${GPU:-0} CUDA_CACHE_PATH=$cache/nv CUBECL_AUTOTUNE_LEVEL=${LEVEL:-minimal} timeout "${LIMIT:-600}" \
        "$programs/contextlm" train "$recipes/gpt2-$recipe.toml" --set "model.backbone=$shape" "${chunk[@]}" \
        --set "data.train=$shards/train" --set "data.valid=$shards/valid" --set "data.sequence_length=$length" \
        --set "optimizer.lr=${LR:-1e-3}" --set "schedule.warmup_ratio=${WARMUP:-0.05}" --set "train.steps=${STEPS:-100}" --set "train.batch_tokens=${BATCH:-32768}" \
        --set "train.micro_batch=${MICRO:-32}" --set "train.dtype=${DTYPE:-bf16}" --set "train.device=${DEVICE:-cuda:0}" \
        --set "log.peak_flops=989.4e12" --set "train.seed=$seed" --set "eval.every=${EVAL_EVERY:-0}" --set "eval.tokens=${EVAL_TOKENS:-262144}" \
        --set "checkpoint.dir=$out/$row/seed-$seed" --set checkpoint.every=0 --json >"$out/$row-$seed.json" 2>"$out/$row-$seed.log"
    echo "$row, seed $seed, GPU ${GPU:-0}: exit $?, $((SECONDS - begun)) s, $(tail -1 "$out/$row-$seed.json")"
done
