#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Do programs that were built with the last release go on working? abi_test.sh BUILD_FOLDER [--record]: its libhybridhash.so
# against api/hybridhash.abi, by libabigail. What may come is a function, a value at the end of an enumeration, and a member at
# the end of a struct whose first member is its size. --record writes the file instead: at a release.
# The last line is "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
. scripts/count.sh
started=$SECONDS
build=$1
record=api/hybridhash.abi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the header shows and no more: no private type, no line, no folder, no other library.
abidw --exported-interfaces-only --headers-dir "$build/api/include/hybridhash" --drop-private-types --no-elf-needed \
  --no-corpus-path --no-comp-dir-path --no-show-locs --short-locs --type-id-style hash --no-parameter-names \
  --out-file "$work/now.abi" "$build/bin/libhybridhash.so" || exit
if [ "${2:-}" = --record ]; then
  cp "$work/now.abi" $record
  exit
fi

# members STRUCT FILE: offset, name and type of each, in order.
members() {
  sed -n "/class-decl name='$1' size/,/class-decl>/p" "$2" | grep -oE "layout-offset-in-bits='[0-9]+'|name='\w+' type-id='\w+'"
}
# grew RELEASED NOW: of a struct that got a member at its end abidiff forgives everything. So: its other members are as they were.
grew() {
  local struct
  for struct in $(sed -nE 's/^name_regexp = \^(hh_)\((.*)\)\$/\2/p' tests/api/abi.suppr | tr '|' ' '); do
    members "hh_$struct" "$1" >"$work/was"
    members "hh_$struct" "$2" >"$work/is"
    head -n "$(wc -l <"$work/was")" "$work/is" | diff "$work/was" - || return
  done
}
# fits RELEASED NOW: abidiff's own exit status, 0 or bits of what is wrong.
fits() {
  abidiff --no-added-syms --suppressions tests/api/abi.suppr "$1" "$2" && grew "$1" "$2"
}
# altered NAME SED_COMMAND: the library as it would be recorded if it were so, another than it is.
altered() {
  sed -E "$2" "$work/now.abi" >"$work/$1.abi"
  ! cmp -s "$work/now.abi" "$work/$1.abi"
}
# refuses NAME: a release of which the library as it is would be a break.
refuses() {
  altered "$@" && ! fits "$work/$1.abi" "$work/now.abi"
}
accepts() {
  altered "$@" && fits "$work/$1.abi" "$work/now.abi"
}
count "ABI of the last release" fits $record "$work/now.abi"

# The check itself. A changed parameter, a changed result, a function that is gone, members and values that moved:
ints=95e97e5e texts=80f4b756
count "a parameter" refuses parameter "/function-decl name='hh_set_threads'/,/function-decl>/ s/parameter type-id='[0-9a-f]+'/parameter type-id='$texts'/"
count "one parameter more" refuses more "/function-decl name='hh_set_threads'/ a <parameter type-id='$ints'/>"
count "a result" refuses result "/function-decl name='hh_version'/,/function-decl>/ s/return type-id='[0-9a-f]+'/return type-id='$ints'/"
count "a function gone" refuses gone "/elf-symbol name='hh_threads'/ { p; s/hh_threads/hh_gone/ }"
count "a member of another type" refuses member "/var-decl name='row_stride'/ s/type-id='[0-9a-f]+'/type-id='$ints'/"
count "a member at the end of a struct without size" refuses unsized "/class-decl name='hh_image'/,/class-decl>/ {
  s/size-in-bits='384'/size-in-bits='320'/; /offset-in-bits='320'/,/data-member>/ d }"
count "a value" refuses value "s/(enumerator name='HH_BUSY' value=)'6'/\1'5'/"
# A struct that grew and changed before its end.
grown="/class-decl name='hh_model_options'/,/class-decl>/ { s/size-in-bits='256'/size-in-bits='192'/; /offset-in-bits='192'/,/data-member>/ d"
count "a struct that grew and changed" refuses both "$grown; s/(var-decl name='dtype' type-id=)'[0-9a-f]+'/\1'$ints'/ }"
count "a function more" accepts added "/elf-symbol name='hh_threads'/ d; /function-decl name='hh_threads'/,/function-decl>/ d"
count "a member more" accepts grown "$grown }"
count "a value more" accepts values "/enumerator name='HH_INTERNAL'/ d"
echo "the ABI: $((SECONDS - started)) s"
finish
