#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# docs/recipes.md against the program: check_recipe_keys.sh PROGRAM. Each key of `train --print-recipe` has its row, with its
# default; the program takes the values at the ends of what the row allows, and refuses those beyond.
set -uo pipefail
program=$(realpath "$1")
cd "$(dirname "$0")/.." || exit
page=docs/recipes.md
bad=0
wrong() {
  echo "$page: $*"
  bad=1
}

rows=$(sed -n 's/^| \([a-z]*\.[a-z0-9_]*\) | \([^|]*\) | \([^|]*\) | .*/\1|\2|\3/p' "$page")
printed=$("$program" train --print-recipe | awk '/^#/ { next } /^\[/ { section = substr($0, 2, length - 2) } / = / { print section "." $0 }')
[ -n "$printed" ] || { echo "$program prints no recipe"; exit 1; }
while IFS= read -r line; do
  key=${line%% = *} default=${line#* = }
  # What "auto" stands for is printed in its place.
  [ "$key" = data.exif_orientation ] && default='"auto"'
  grep -qxF "$key|\`$default\`" <(cut -d'|' -f1,2 <<<"$rows") || wrong "$key with the default $default has no row"
done <<<"$printed"

takes() { "$program" train --print-recipe --set "$1=$2" >/dev/null 2>&1; }
expect_taken() { takes "$@" || wrong "$1 = $2 is refused"; }
expect_refused() { takes "$@" && wrong "$1 = $2 is taken"; }

number='-?[0-9.]+'
while IFS='|' read -r key default values; do
  grep -q "^$key = " <<<"$printed" || [ "$key" = model.preset ] || wrong "$key is no key of the program"
  [ "$key" = model.patch ] && continue  # no side is a multiple of 4 patches for both ends
  # The distance of a value beyond an end from that end.
  step=1
  [[ $default == *[.e]* ]] && step=0.00001
  beyond() { awk -v a="$1" -v s="$2" 'BEGIN { printf "%.10g", a + s }'; }
  case $values in
    text | multiples* | three\ divisors*) ;;  # files, or what other keys allow
    \`*)
      IFS=', ' read -ra names <<<"${values//\`/}"
      for name in "${names[@]}"; do expect_taken "$key" "\"$name\""; done
      expect_refused "$key" '"none of them"' ;;
    *"true, false")
      expect_taken "$key" true
      expect_taken "$key" false
      [[ $values == auto* ]] && expect_taken "$key" '"auto"'
      expect_refused "$key" 2 ;;
    "three multiples of 8 from 8 to 1024")
      for value in 8 1024; do
        "$program" train --print-recipe --set "model.heads=[8,8,8]" --set "$key=[$value,$value,$value]" >/dev/null || wrong "$key: $value is refused"
      done
      for value in 0 12 1032; do expect_refused "$key" "[$value,64,128]"; done ;;
    "three from 1 to 64")
      for value in 1 64; do expect_taken "$key" "[$value,$value,$value]"; done
      for value in 0 65; do expect_refused "$key" "[1,1,$value]"; done
      expect_refused "$key" "[1,1]" ;;
    *)
      if [[ $values =~ ^(-1,\ or\ )?(>\ )?($number)(\ or\ more|\ to\ (<\ )?($number|model\.image_size))?$ ]]; then
        also=${BASH_REMATCH[1]} above=${BASH_REMATCH[2]} least=${BASH_REMATCH[3]} below=${BASH_REMATCH[5]} most=${BASH_REMATCH[6]}
        [ "$most" = model.image_size ] && most=32  # of the default network
        [ -n "$also" ] && expect_taken "$key" -1 && expect_refused "$key" -2
        if [ -n "$above" ]; then
          expect_refused "$key" "$least"
          expect_taken "$key" "$(beyond "$least" $step)"
        else
          expect_taken "$key" "$least"
          [ -n "$also" ] || expect_refused "$key" "$(beyond "$least" -$step)"
        fi
        if [ -n "$below" ]; then
          expect_refused "$key" "$most"
          expect_taken "$key" "$(beyond "$most" -$step)"
        elif [ -n "$most" ]; then
          expect_taken "$key" "$most"
          expect_refused "$key" "$(beyond "$most" $step)"
        fi
      else
        wrong "$key: the values \"$values\" are not understood"
      fi ;;
  esac
done <<<"$rows"
exit $bad
