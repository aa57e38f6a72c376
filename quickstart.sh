#!/usr/bin/env bash
# From nothing to a trained and searchable model on real images: installs, builds, trains on
# Fashion-MNIST, evaluates, encodes, indexes, searches. Leaves runs/quickstart/.
#   ./quickstart.sh --build-only   installs and builds; the last line is the program's path
set -euo pipefail
cd "$(dirname "$0")"
scripts/install.sh run
preset=cpu
if command -v nvcc >/dev/null && [ -e /dev/nvidiactl ] && [ -d kernels/cuda ]; then preset=cuda; fi
echo "building (preset $preset)"
scripts/build.sh "$preset" hybridhash
program=$PWD/build/$preset/bin/hybridhash
if [ "${1:-}" = --build-only ]; then
  echo "$program"
  exit 0
fi

run=runs/quickstart
if [ -f $run/done ]; then
  echo "$run is complete already; remove it to train again"
else
  if [ -f $run/last.safetensors ]; then
    "$program" train --resume $run
  else
    rm -rf $run
    "$program" train recipes/micro_fashion.toml --out $run
  fi
  "$program" encode --model $run/best.safetensors --part query --out $run/query.codes
  "$program" encode --model $run/best.safetensors --part database --out $run/database.codes
  "$program" eval --queries $run/query.codes --database $run/database.codes --out $run/eval
  touch $run/done
fi
