#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts/count.sh, on programs that pass, fail and die.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
bad=0

# expect WANTED_STATUS WANTED_TEXT CODE: CODE runs with the functions, then finish(); WANTED_TEXT is a
# pattern for the whole output.
expect() {
  local out status
  out=$(bash -uc ". scripts/count.sh; $3; finish" 2>&1)
  status=$?
  # shellcheck disable=SC2053
  if [ $status -ne "$1" ] || [[ $out != $2 ]]; then
    echo "$3: exit status $status, not $1; or its output is not $2:"
    echo "$out"
    bad=1
  fi
}

# A program that prints its first argument and ends with the second.
say='bash -c '\''echo "$0"; exit "$1"'\'

expect 0 '1 passed, 0 failed' 'count good true'
expect 1 '*FAILED bad (exit status 7)*why*0 passed, 1 failed' "count bad $say why 7"
expect 1 '*FAILED dead (exit status 139)*0 passed, 1 failed' "count dead bash -c 'kill -SEGV \$\$'"
expect 1 '0 passed, 0 failed' true

expect 0 '*3 of 3 test cases*3 passed, 0 failed' "catch p $say 'All tests passed (5 assertions in 3 test cases)' 0"
expect 1 '*FAILED p (exit status 1)*3 passed, 1 failed' "catch p $say 'test cases: 4 | 3 passed | 1 failed' 1"
expect 1 '*0 passed, 2 failed' "catch p $say 'test cases: 2 | 2 failed' 2"
expect 1 '*FAILED p (exit status 9)*3 passed, 1 failed' "catch p $say 'All tests passed (5 assertions in 3 test cases)' 9"
expect 1 '*FAILED p (exit status 134)*0 passed, 1 failed' "catch p bash -c 'kill -ABRT \$\$'"
expect 1 '*FAILED p (exit status 0)*0 passed, 1 failed' "catch p $say 'No tests ran' 0"

expect 0 '*6 of 6 reference cases*6 passed, 0 failed' "verify v $say '6 of 6 cases passed on cpu (avx2)' 0"
expect 1 '*FAILED v (exit status 1)*5 passed, 1 failed' "verify v $say '5 of 6 cases passed on cpu (avx2)' 1"
expect 1 '*FAILED v (exit status 2)*0 passed, 1 failed' "verify v $say 'hybridhash: there are no reference cases' 2"

expect 0 '*12 passed, 0 failed' "script s $say '10 passed, 0 failed' 0; script s $say '2 passed, 0 failed' 0"
expect 1 '*11 passed, 2 failed' "script s $say '10 passed, 2 failed' 1; count good true"
expect 1 '*10 passed, 1 failed' "script s $say '10 passed, 0 failed' 3"
expect 1 '*0 passed, 1 failed' "script s $say 'cannot build' 1"
exit $bad
