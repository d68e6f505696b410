#!/usr/bin/env bash
# What wants a GPU, within 25 minutes: the objective against the published one on CIFAR-10-JPEG at 32x32.
# Usage: bench/device.sh CIFAR.tar.xz OUT    (noiseworth installed; OUT/curves gets the risk of each training against images seen)
set -euo pipefail
cifar=$1 out=$2
python bench/objective.py --size 32 --cifar "$cifar" --work "$out/trainings" --jobs 4 --only '^cifar-50000-s0.[25]-c0.1-(published|worth)-0$' --no-report
mkdir -p "$out/curves"
for cell in "$out"/trainings/cells/*; do cp "$cell/curve.json" "$out/curves/$(basename "$cell").json"; done
