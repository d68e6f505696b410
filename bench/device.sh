#!/usr/bin/env bash
# What needs a GPU, within 25 minutes: how fast the presets train, the objective against the published one on
# CIFAR-10-JPEG at 32x32, and the paper's Table 1 on it.
# Usage: bench/device.sh CIFAR.tar.xz OUT    (noiseworth installed)
# OUT gets engine-gpu.json (put it under results/, bench/engine.py reads it), curves/ and table1.csv.
set -euo pipefail
cifar=$1
out=$2
mkdir -p "$out/curves"
python bench/engine.py --device-only "$out/engine-gpu.json"
python bench/objective.py --size 32 --cifar "$cifar" --work "$out/trainings" --jobs 4 --no-report \
  --only '^cifar-50000-s0.[25]-c0.1-(published|worth)-0$'
for cell in "$out"/trainings/cells/*; do
  cp "$cell/curve.json" "$out/curves/$(basename "$cell").json"
done
noiseworth pack "$cifar" "$out/cifar" --sigma 0 --splits
noiseworth sweep plan --grid gpu-study --out "$out/study" \
  --data "$out/cifar/train" --held-out "$out/cifar/test"
timeout 600 noiseworth sweep run "$out/study" --jobs 4 || true # what is done by then counts; it can go on
noiseworth sweep collect "$out/study"
cp "$out/study/observations.csv" "$out/table1.csv"
