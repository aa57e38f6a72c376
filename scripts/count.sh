# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Counting tests, for scripts that source this: passed and failed, and what failed is printed.
passed=0
failed=0

# count NAME COMMAND...: one test, by its exit status.
count() {
  local name=$1 log status
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1
  status=$?
  if [ $status -eq 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED $name (exit status $status)"
    tail -n 60 "$log"
  fi
  rm -f "$log"
}

# tally LABEL WHAT GOOD ALL STATUS LOG: GOOD of ALL tests passed. A program that failed although its
# tests passed, or that said nothing of them, is one more failure.
tally() {
  local label=$1 what=$2 good=$3 all=$4 status=$5 log=$6
  [ "$status" -ne 0 ] && [ "$good" -eq "$all" ] && all=$((all + 1))
  [ "$all" -eq 0 ] && all=1
  passed=$((passed + good))
  failed=$((failed + all - good))
  echo "$label: $good of $all $what passed"
  if [ "$good" -ne "$all" ]; then
    echo "FAILED $label (exit status $status)"
    tail -n 80 "$log"
  fi
  rm -f "$log"
}

# catch LABEL PROGRAM ARGS...: a Catch2 program, by its own count of test cases.
catch() {
  local label=$1 log summary status cases=0 good=0
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1
  status=$?
  summary=$(grep -E '^(All tests passed|test cases:)' "$log" | tail -n 1)
  if [[ $summary =~ \(.*in\ ([0-9]+)\ test\ case ]]; then
    cases=${BASH_REMATCH[1]} good=$cases
  elif [[ $summary =~ ^test\ cases:\ +([0-9]+) ]]; then
    cases=${BASH_REMATCH[1]}
    [[ $summary =~ \|\ +([0-9]+)\ passed ]] && good=${BASH_REMATCH[1]}
  fi
  tally "$label" "test cases" "$good" "$cases" $status "$log"
}

# verify LABEL COMMAND...: `hybridhash verify` without a case, by its own count of reference cases.
verify() {
  local label=$1 log status cases=0 good=0
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1
  status=$?
  if [[ $(grep -E '^[0-9]+ of [0-9]+ cases passed' "$log" | tail -n 1) =~ ^([0-9]+)\ of\ ([0-9]+) ]]; then
    good=${BASH_REMATCH[1]} cases=${BASH_REMATCH[2]}
  fi
  tally "$label" "reference cases" "$good" "$cases" $status "$log"
}

# script LABEL COMMAND...: a script that ends with "N passed, N failed"; its output is shown.
script() {
  local label=$1 log status line good=0 bad=0
  shift
  log=$(mktemp)
  "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  line=$(tail -n 1 "$log")
  : >"$log"  # was shown
  if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    good=${BASH_REMATCH[1]} bad=${BASH_REMATCH[2]}
  fi
  tally "$label" tests "$good" $((good + bad)) "$status" "$log"
}

# finish: the last line, and the exit status.
finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}
