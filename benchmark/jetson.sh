#!/bin/sh
# Measure the bundle's graphs on a Jetson or a desktop GPU: bash benchmark/jetson.sh OUTDIR [--bundle DIR]
# Needs the package with onnxruntime (CPU is enough for the reference), and for TensorRT what docs/jetson.md installs.
# Writes fp32/robot-*.json and fp16/robot-*.json, in the format of benchmark/results, and what the machine is and
# `emollama doctor` says, into OUTDIR. Single precision is measured only where no engine in half precision is kept.
set -eu
[ $# -ge 1 ] || { echo "usage: bash benchmark/jetson.sh OUTDIR [--bundle DIR]" >&2; exit 2; }
out=$1
shift
cd "$(dirname "$0")/.."
mkdir -p "$out"
python=${PYTHON:-python3}
# What a Jetson is and how fast it may run; without these its figures tell nothing.
{ cat /proc/device-tree/model 2>/dev/null; cat /etc/nv_tegra_release 2>/dev/null; nvpmodel -q 2>/dev/null; } \
    | tr -d '\000' > "$out/machine.txt" || true
"$python" -m emollama_ros.cli doctor --json > "$out/doctor.json" || true
# An engine in half precision is preferred once it is there, so single precision is measured before it is built.
"$python" -m emollama_ros.cli bundle engines "$@" > "$out/engines.txt" 2>&1 || cat "$out/engines.txt"
"$python" -m benchmark.robot --out "$out/fp32" "$@"
"$python" -m emollama_ros.cli bundle engines --fp16 "$@" >> "$out/engines.txt" 2>&1 || exit 0
exec "$python" -m benchmark.robot --out "$out/fp16" --engines tensorrt "$@"
