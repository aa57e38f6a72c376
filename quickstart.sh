#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From nothing to a trained and searchable model on real images: installs, builds, trains on
# Fashion-MNIST, evaluates, encodes, indexes, searches. Leaves runs/quickstart/.
#   ./quickstart.sh --build-only   installs and builds; the last line is the program's path
set -euo pipefail
cd "$(dirname "$0")"
scripts/install.sh run
preset=cpu
if command -v nvcc >/dev/null && [ -e /dev/nvidiactl ]; then preset=cuda; fi
echo "building (preset $preset)"
scripts/build.sh "$preset" hybridhash
program=$PWD/build/$preset/bin/hybridhash
if [ "${1:-}" = --build-only ]; then
  echo "$program"
  exit 0
fi

run=runs/quickstart
train() {
  "$program" train "$@" || {
    status=$?
    [ $status != 130 ] || echo "stopped; ./quickstart.sh goes on from here"
    exit $status
  }
}
if [ ! -f $run/done ]; then
  if [ -f $run/last.safetensors ]; then
    train --resume $run
  else
    rm -rf $run
    train recipes/micro_fashion.toml --out $run
  fi
  model=$run/best.safetensors
  "$program" encode --model $model --part query --out $run/query.codes
  "$program" encode --model $model --part database --out $run/database.codes
  "$program" eval --queries $run/query.codes --database $run/database.codes --out $run/eval
  "$program" index build --codes $run/database.codes --out $run/database.index --overwrite
  "$program" search --index $run/database.index --codes $run/query.codes --sample 12 --seed 1 -k 10 \
    --html $run/gallery.html >/dev/null
  touch $run/done
fi
cat <<END

$run/ is complete (remove it to train again):
  best.safetensors   the model; last.safetensors is the checkpoint
  loss.svg map.svg   training
  eval/report.html   mAP, precision and recall, with plots
  gallery.html       what 12 queries find among 64,000 images
  database.index/    search it: $program search --index $run/database.index --id 7 --exclude-self
END
