#!/bin/sh
# Measure the networks on an NVIDIA GPU: bash benchmark/gpu.sh OUTDIR [--only training] [--smoke]
# Needs a python3 with torch (CUDA) and numpy, and no weights; for the stages of v2_7b and its training step also transformers, peft,
# pydantic and the package itself. Takes about four minutes; writes one JSON into OUTDIR.
set -eu
[ $# -ge 1 ] || { echo "usage: bash benchmark/gpu.sh OUTDIR [--only training] [--smoke]" >&2; exit 2; }
out=$1
shift
cd "$(dirname "$0")/.."
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,temperature.gpu \
    --format=csv || true
exec env PYTHONUNBUFFERED=1 "${PYTHON:-python3}" -m benchmark.gpu --out "$out" "$@"
