#!/usr/bin/env bash
# Questions that only a GPU can answer, in ten minutes: kernels, host waits, training, speed, graphs, memory, metrics.
#
#     OUT=results bash bench/first_gpu.sh
#
# Parts run in the order of their value, each with a time limit; one that fails stops nothing. $OUT then has PART.log,
# parts.jsonl with the outcome of every part, and records.jsonl with every measurement. The script installs nothing and
# needs neither a network nor an optional package. Without a GPU every part is skipped, and parts.jsonl has the reason.
# PYTHON chooses another Python than that of .venv, LIMIT_S another length than 600 seconds.

set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
OUT=${OUT:-first_gpu}
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit 2
export OUT
PYTHON=${PYTHON:-$(if [ -x .venv/bin/python ]; then echo .venv/bin/python; else command -v python3; fi)}
RECORDS=$OUT/records.jsonl
: > "$OUT/parts.jsonl"
: > "$RECORDS"

# Records the outcome of a part: NAME OUTCOME EXIT_CODE SECONDS REASON
record() {
    local reason=${5//\\/\\\\}
    printf '{"part": "%s", "outcome": "%s", "rc": %d, "sec": %d, "reason": "%s"}\n' \
        "$1" "$2" "$3" "$4" "${reason//\"/\\\"}" >> "$OUT/parts.jsonl"
    printf '%-10s %-8s %4d s  %s\n' "$1" "$2" "$4" "$5"
}

# Runs a part: NAME SECONDS COMMAND ...
part() {
    local name=$1 limit=$2 began=$SECONDS rc=0 outcome=passed left=$((${LIMIT_S:-600} - SECONDS))
    shift 2
    if [ -n "$WHY_NOT" ]; then record "$name" skipped 0 0 "$WHY_NOT"; return; fi
    if [ "$left" -lt 5 ]; then record "$name" skipped 0 0 "no time is left"; return; fi
    timeout --kill-after=5 "$((limit < left ? limit : left))" "$@" > "$OUT/$name.log" 2>&1 || rc=$?
    case $rc in 0) ;; 124 | 137) outcome=timeout ;; *) outcome=failed ;; esac
    record "$name" "$outcome" "$rc" "$((SECONDS - began))" "$(tail -n 1 "$OUT/$name.log" | tr -d '\000-\037' | cut -c 1-200)"
}

if found=$("$PYTHON" bench/first_gpu.py gpu --records "$RECORDS" 2>&1); then NO_GPU=; else NO_GPU=${found##*$'\n'}; fi
echo "$found"
WHY_NOT=$NO_GPU

part build 120 bash -c '"$0" -m torch_utils.ops.toolchain.build && "$0" -m torch_utils.doctor' "$PYTHON"

mapfile -t marked < <(grep -rl --include='test_*.py' 'mark\.gpu' tests)
parallel=()
"$PYTHON" -c 'import xdist' 2> /dev/null && parallel=(-n 4)
[ -n "$NO_GPU" ] || "$PYTHON" -c 'import pytest, hypothesis' 2> /dev/null || WHY_NOT='pytest or hypothesis is absent'
part tests 120 "$PYTHON" -m pytest -q -m gpu "${parallel[@]}" -p no:cacheprovider "${marked[@]}"
WHY_NOT=$NO_GPU

part train 100 "$PYTHON" bench/first_gpu.py train --folder "$OUT/runs" --records "$RECORDS"

steps=("$PYTHON" bench/train_step.py --device=cuda --precision=bf16 --records="$RECORDS" --batch)
part steps64 40 "${steps[@]}" 32 --resolution=64
part steps256 40 "${steps[@]}" 16 --resolution=256
part ieee256 30 "${steps[@]}" 16 --resolution=256 --tf32=0
part steps1024 60 "${steps[@]}" 4 --resolution=1024
part profile 40 "$PYTHON" bench/first_gpu.py profile --records "$RECORDS"
part ops 60 "$PYTHON" bench/ops.py --device=cuda --repeat=3 --records="$RECORDS"

part graphs 40 "$PYTHON" bench/graphs.py --device=cuda
part same_bits 60 "$PYTHON" bench/first_gpu.py same-bits --folder "$OUT/same_bits" --records "$RECORDS"
part metrics 40 "$PYTHON" bench/first_gpu.py metrics --records "$RECORDS"

[ -n "$NO_GPU" ] || command -v compute-sanitizer > /dev/null || WHY_NOT='compute-sanitizer is absent'
part memcheck 60 compute-sanitizer --tool memcheck --error-exitcode 9 "$PYTHON" -m pytest -q -m gpu \
    -p no:cacheprovider tests/torch_utils/ops/test_cuda.py -k 'bits or stream or format'
WHY_NOT=$NO_GPU

part squeeze256 40 "${steps[@]}" 16 --resolution=256 --cfg=squeeze
part by_sample 40 "${steps[@]}" 16 --resolution=256 --by-sample=1
part by_image 40 "${steps[@]}" 16 --resolution=256 --by-sample=0
echo "results: $OUT"
