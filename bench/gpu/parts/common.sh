# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# What the parts of run.sh share. A part is a command with a limit of its own; what became of it is a line in $OUT/parts.tsv as
# soon as it ends, what it printed is $OUT/logs/NAME.txt. Set by run.sh: OUT, phase, phase_end (in seconds of $SECONDS), only.

say() { echo "[$SECONDS s] $*"; }

left() { echo $((phase_end - SECONDS)); }

# pick WHOLE DRY: what a dry run takes in place of the whole.
pick() { if $dry; then echo "$2"; else echo "$1"; fi; }

# record NAME STATUS EXIT SECONDS LIMIT SUMMARY: one short write, so that parts side by side don't mix their lines.
record() {
  local summary=${6//$'\t'/ }
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$phase" "$1" "$2" "$3" "$4" "$5" "${summary:0:300}" >>"$OUT/parts.tsv"
  say "$1: $2${6:+, ${summary:0:160}} ($4 s)"
}

skip() { record "$1" skipped - 0 0 "$2"; }

wanted() { [[ $1 =~ $only ]]; }

# The line of a log that says how it went.
summary_of() {
  local catch2='^(All tests passed|test cases:).*' line='.*(checks passed|ERROR SUMMARY|RACECHECK SUMMARY|==ERROR==|error:).*'
  grep -oE "$catch2|$line|\"(images_per_s|search_seconds)\":[0-9.e-]+" "$1" | tail -n 1
}

# part SECONDS NAME COMMAND...: within its own limit and its phase's.
part() {
  local limit=$1 name=$2 log=$OUT/logs/$2.txt began rc=0 status took
  shift 2
  wanted "$name" || return 0
  if [ "$(left)" -lt 3 ]; then
    skip "$name" "no time was left in its phase"
    return 0
  fi
  [ "$limit" -gt "$(left)" ] && limit=$(left)
  began=${EPOCHREALTIME/[.,]/}
  timeout -k 5 "$limit" "$@" >"$log" 2>&1 || rc=$?
  took=$(((${EPOCHREALTIME/[.,]/} - began) / 1000))
  case $rc in
    0) status=passed ;;
    124 | 137 | 142) status="out of time" ;;  # of timeout, or an alarm of the part's own
    *) status=failed ;;
  esac
  record "$name" "$status" $rc "$((took / 1000)).$(printf %03d $((took % 1000)))" "$limit" "$(summary_of "$log")"
  [ $rc -eq 0 ]
}

# needs NAME PROGRAM: whether the part's program is there; if not, the part is skipped by name.
needs() {
  wanted "$1" || return 1
  command -v "$2" >/dev/null && return 0
  skip "$1" "$2 isn't there"
  return 1
}
