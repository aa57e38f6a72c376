#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bench/gpu/run.sh with programs and tools that only pretend: every part has its line and its file, what hangs or is missing costs itself
# alone, and a run that is ended keeps what it had.
set -uo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
bad=0

fail() {
  echo "$*"
  bad=1
}

# pretend FILE CODE
pretend() {
  printf '#!/usr/bin/env bash\n%s\n' "$2" >"$1"
  chmod +x "$1"
}

make_bundle() {
  local case program
  mkdir -p "$folder"/{bin,lib,tools,share/hybridhash/goldens,bench}
  cp -r "$root/bench/gpu" "$folder/bench/"
  for case in micro_a micro_b micro_c micro_d micro_e full224 loss loss_small; do
    echo '{}' >"$folder/share/hybridhash/goldens/$case.json"
  done
  touch "$folder/bin/libhh_cuda.so"
  for program in hh_kernel_tests hh_engine_tests hh_model_tests; do
    pretend "$folder/bin/$program" '[ "$HH_TEST_DEVICES" = cuda ] && echo "All tests passed (5 assertions in 3 test cases)"'
  done
  pretend "$folder/bin/lt_probe" 'printf "case\tlayers\nx\t1\n"'
  pretend "$folder/bin/hh_bench" 'while [ "$1" != --json ]; do shift; done; echo "{}" >"$2"'
  pretend "$folder/bin/hybridhash" 'last=${*: -1}
    case "$1 $*" in
      verify*) echo "3 of 3 checks passed"; [[ $* != *--json* ]] || echo "{\"checks\":[]}" >"$last" ;;
      index*) mkdir "$last" ;;
      bench*) echo "{\"images_per_s\":12.5}" ;;
      search*) echo "{\"search_seconds\":0.25,\"results\":[]}" ;;
    esac'
}

make_tools() {
  pretend "$folder/tools/nvidia-smi" 'echo "A Made Up GPU, 1.2, 3 MiB, 4 MHz, 5 MHz, 6 MHz"'
  pretend "$folder/tools/compute-sanitizer" 'echo "========= ERROR SUMMARY: 0 errors"'
  pretend "$folder/tools/ncu" 'while [ $# -gt 0 ]; do [ "$1" = --log-file ] && : >"$2"; shift; done'
  pretend "$folder/tools/df" 'echo 999999999999'
  # A python3 with PyTorch, which waits for its turn.
  pretend "$folder/tools/python3" 'case "$*" in
      -c*) ;;
      *random_codes.py*) : >"$3" ;;
      *) while [ $# -gt 0 ]; do
           case $1 in --ready) touch "$2" ;; --wait) wait=$2 ;; --out) out=$2 ;; esac
           shift
         done
         until [ -e "$wait" ]; do sleep 0.1; done
         echo "{\"config\":\"x\"}" >>"$out" ;;
    esac'
}

run() { PATH=$folder/tools:$PATH "$folder/bench/gpu/run.sh" "$@" >"$folder/printed" 2>&1; }

# expect NAME STATUS [SUMMARY]: the line of a part in the run's parts.tsv.
expect() {
  local line
  line=$(awk -F'\t' -v name="$1" '$2 == name { print $3 "\t" $7 }' "$out/parts.tsv")
  [[ $line == "$2"$'\t'*"${3:-}"* ]] || fail "$out: $1 is '$line', not '$2' and '${3:-}'"
}

check_all_parts() {
  local name file
  out=$folder/all
  run --limit 120 --out "$out" || fail "the run failed"
  for name in $(python3 -c "import sys; sys.path.insert(0, '$root/bench/gpu'); import report_run as r
print(*[n for names in r.PARTS.values() for n in names])"); do
    expect "$name" passed
  done
  [ "$(grep -c passed "$out/parts.tsv")" = "$(wc -l <"$out/parts.tsv")" ] || fail "not all passed: $(cat "$out/parts.tsv")"
  expect verify_full224_f16 passed "3 of 3 checks passed"
  expect train256 passed '"images_per_s":12.5'
  expect memcheck passed "ERROR SUMMARY: 0 errors"
  [ "$(cut -f 1,2 "$out/machine.tsv" | grep -c '^gpu.A Made Up GPU$')" = 1 ] || fail "the GPU isn't named"
  [ -e /dev/nvidiactl ] || grep -q $'^simulated\ttrue$' "$out/machine.tsv" || fail "a run without a GPU isn't called simulated"
  [ "$(wc -l <"$out/bench.jsonl")" = 8 ] || fail "bench.jsonl: not 8 lines"
  [ "$(wc -l <"$out/torch.jsonl")" = 3 ] || fail "torch.jsonl: not 3 lines"
  [ "$(tail -n 1 "$out/search.tsv")" = $'1000000000\t1000\t0.25' ] || fail "search.tsv: $(cat "$out/search.tsv")"
  for file in ncu_step.csv ncu_search_100000000_1.csv hamming.jsonl kernels.jsonl lt_probe.tsv verify/micro_a.bf16.json; do
    [ -e "$out/$file" ] || fail "there is no $file"
  done
  ! run --limit 120 --out "$out" && grep -q "must be empty" "$folder/printed" || fail "a folder that isn't empty was taken"
}

# A part that hangs, one whose program is missing, one that fails; tools that aren't there.
check_faults() {
  local began=$SECONDS
  out=$folder/faults
  pretend "$folder/bin/hh_model_tests" 'sleep 1000'
  pretend "$folder/bin/hh_engine_tests" 'echo "test cases: 3 | 2 passed | 1 failed"; exit 1'
  rm "$folder/bin/lt_probe" "$folder/share/hybridhash/goldens/micro_d.json"
  pretend "$folder/tools/ncu" 'echo "==ERROR== ERR_NVGPUCTRPERM"; exit 1'
  run --limit 30 --out "$out" --only '^(engine|model|lt_probe|verify_micro_[de]|ncu_step|train64)'
  expect model "out of time"
  expect engine failed "2 passed"
  expect lt_probe skipped "lt_probe isn't there"
  expect verify_micro_d skipped "isn't among the goldens"
  expect ncu_step failed ERR_NVGPUCTRPERM
  expect train64 passed
  [ $((SECONDS - began)) -le 30 ] || fail "the run took $((SECONDS - began)) s of 30"
}

check_ended() {
  local job
  out=$folder/ended
  PATH=$folder/tools:$PATH "$folder/bench/gpu/run.sh" --limit 30 --out "$out" --only '^(smoke|model)$' >/dev/null 2>&1 &
  job=$!
  for _ in {1..100}; do
    grep -q smoke "$out/parts.tsv" 2>/dev/null && break
    sleep 0.1
  done
  kill $job
  expect smoke passed
}

make_bundle
make_tools
check_all_parts
check_faults
check_ended
exit $bad
