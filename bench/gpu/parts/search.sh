# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# Exact search of many codes, through the program: a scan on the GPU for the 100 nearest of random codes of 64 bits. The program searches an
# index, which is a file, so these codes are made on the host, and reading and uploading them is part of what is timed. Kernels
# alone, on codes that the GPU makes, are timed by scans() in timings.sh.

sizes() { pick "10M 100M 1G" 20K; }

query_counts() { pick "1 1000" 1; }

# Beside the tests, by the CPU. Of a code the file has 8 bytes and the index 16.
make_indexes() {
  local size count name
  for count in $(query_counts); do "$python" "$root/bench/gpu/random_codes.py" "$count" "$work/queries_$count.npy"; done
  for size in $(sizes); do
    count=$(numfmt --from=si "$size") name=codes_$size
    wanted "$name" || continue
    if [ "$(df -B1 --output=avail "$work" | tail -n 1)" -lt $((count * 26)) ]; then
      skip "$name" "$((count * 26 / 1000000)) MB aren't free in $work"
      continue
    fi
    # shellcheck disable=SC2016
    part 150 "$name" bash -c '"$1" "$2" "$3" "$4.npy" && shift 3 && file=$1 && shift && "$@" && rm "$file.npy"' - \
      "$python" "$root/bench/gpu/random_codes.py" "$count" "$work/$name" \
      "${hh[@]}" "$bin/hybridhash" index build --codes "$work/$name.npy" --out "$work/$name.index"
  done
}

# each_search FUNCTION: with a size and a number of queries, where there is an index.
each_search() {
  local size queries
  for size in $(sizes); do
    for queries in $(query_counts); do "$1" "$size" "$queries"; done
  done
}

# The command line of a search, in the array `search`. Fails and skips part $3 where there is no index.
search_command() {
  wanted "$3" || return 1
  if [ ! -e "$work/codes_$1.index" ]; then
    skip "$3" "there is no index of $1 codes; codes_$1 would make it"
    return 1
  fi
  search=("${hh[@]}" "$bin/hybridhash" search --index "$work/codes_$1.index" --codes "$work/queries_$2.npy" -k 100 --method scan
    --device cuda --json)
}

time_search() {
  local name=search_$1_$2 seconds search
  search_command "$1" "$2" "$name" || return 0
  # The answers themselves aren't kept.
  # shellcheck disable=SC2016
  part 40 "$name" bash -c 'set -o pipefail; "$@" | cut -c 1-300' - "${search[@]}" || return 0
  seconds=$(grep -oE '"search_seconds":[0-9.e-]+' "$OUT/logs/$name.txt" | cut -d : -f 2)
  printf '%s\t%s\t%s\n' "$(numfmt --from=si "$1")" "$2" "$seconds" >>"$OUT/search.tsv"
}

count_search() {
  local name=ncu_search_$1_$2 search
  search_command "$1" "$2" "$name" || return 0
  part 30 "$name" "${profile[@]}" --metrics "$metrics" --csv --page raw --print-units base \
    --log-file "$OUT/ncu_search_$(numfmt --from=si "$1")_$2.csv" "${search[@]}"
}
