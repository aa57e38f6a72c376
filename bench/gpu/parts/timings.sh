# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# Times, with nothing else on the machine.

declare -A torch_jobs=()

# PyTorch warms up and compiles beside the tests, says that it is ready and waits, so that only its timing takes a turn of its own.
# What isn't ready half a minute after the tests ends then, by itself; hence a process each for what compiles.
start_pytorch() {
  if ! "$python" -c 'import torch' 2>/dev/null; then
    local name
    for name in torch torch_compile torch_compile_encode; do wanted $name && skip $name "$python has no torch"; done
    return 0
  fi
  start_pytorch_job torch eager sdpa eager-encode sdpa-encode
  start_pytorch_job torch_compile compile
  start_pytorch_job torch_compile_encode compile-encode
}

# start_pytorch_job NAME CONFIG...
start_pytorch_job() {
  local name=$1
  wanted "$name" || return 0
  shift
  (
    phase_end=$((timings_until - limit / 6))
    part "$limit" "$name" env PYTHONUNBUFFERED=1 "$python" "$root/bench/gpu/torch_gpu.py" "$(pick paper micro)" \
      "$(pick 64 2)" "$(pick 4 0.1)" "$@" --device "$(pick cuda cpu)" --ready-within $((correct_until + 30 - SECONDS)) \
      --ready "$work/$name.ready" --wait "$work/$name.go" --out "$OUT/torch.jsonl"
  ) &
  torch_jobs[$name]=$!
}

# Nothing is timed while PyTorch still compiles.
await_pytorch() {
  local name
  for name in "${!torch_jobs[@]}"; do
    until [ -e "$work/$name.ready" ] || ! kill -0 "${torch_jobs[$name]}" 2>/dev/null; do sleep 0.2; done
  done
}

# One after the other.
time_pytorch() {
  local name
  for name in "${!torch_jobs[@]}"; do
    touch "$work/$name.go"
    wait "${torch_jobs[$name]}"
  done
}

# bench NAME MODE BATCH DTYPE SECONDS ARGS...
bench() {
  local name=$1 line how=(--seconds "$5")
  $dry && how=(--steps 1)
  part 40 "$name" "${hh[@]}" "$bin/hybridhash" bench --config "$(pick paper micro)" --device cuda --mode "$2" \
    --batch "$(pick "$3" 2)" --dtype "$4" "${how[@]}" --json "${@:6}" || return 0
  line=$(grep '^{' "$OUT/logs/$name.txt" 2>/dev/null | tail -n 1)
  [ -n "$line" ] && echo "{\"part\":\"$name\",${line:1}" >>"$OUT/bench.jsonl"
}

whole_network() {
  bench train64 train 64 bf16 4
  time_pytorch
  bench train64_again train 64 bf16 4
  bench train64_no_graph train 64 bf16 3 --no-graph
  bench train256 train 256 bf16 3
  bench train64_f32 train 64 f32 3
  bench encode8 encode 8 bf16 2
  bench encode64 encode 64 bf16 2
  bench encode256 encode 256 bf16 2
}

products() {
  needs lt_probe "$bin/lt_probe" || return 0
  part 60 lt_probe "${hh[@]}" "$bin/lt_probe" "$(pick 0.006 dry)"
  grep -P '\t' "$OUT/logs/lt_probe.txt" >"$OUT/lt_probe.tsv" 2>/dev/null
}

kernels() {
  needs kernels "$bin/hh_bench" || return 0
  part 60 kernels "${hh[@]}" "$bin/hh_bench" run --device cuda --preset "$(pick paper micro)" --dtype bf16 \
    --filter "$(pick '^(window_attention|residual_layer_norm|bias_gelu|wml_loss|interaction_merge)_' '^hash_pool_forward/bf16')" \
    --min-time "$(pick 0.1 0)" --json "$OUT/kernels.jsonl"
}

hamming() {
  needs hamming "$bin/hh_bench" || return 0
  part 40 hamming "${hh[@]}" "$bin/hh_bench" run --device cuda --filter "$(pick '^hamming_(topk|radius)/[0-9]' '^pack_codes')" \
    --min-time "$(pick 0.1 0)" --json "$OUT/hamming.jsonl"
}

# Of codes that the GPU makes, by kernels alone; search.sh times the program's searches of files.
scans() {
  local size name
  for size in $(pick "10M 100M 1G" ""); do
    name=scan_$size
    needs "$name" "$bin/hh_bench" || continue
    part 60 "$name" "${hh[@]}" "$bin/hh_bench" run --device cuda --filter '^hamming_topk/random/' \
      --N "$(numfmt --from=si "$size")" --min-time 0.1 --json "$work/scan.jsonl" || continue
    cat "$work/scan.jsonl" >>"$OUT/hamming.jsonl"
  done
}

timings() {
  await_pytorch
  whole_network
  products
  hamming
  scans
  each_search time_search
  kernels
}
