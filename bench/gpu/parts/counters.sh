# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# Every kernel of a training step by Nsight Compute: time alone, DRAM bytes. Clocks are left as they are, as the timings had them.

metrics=gpu__time_duration.sum,dram__bytes_read.sum,dram__bytes_write.sum,sm__inst_executed.sum,lts__t_sectors_op_read.sum

counters() {
  local ncu name
  ncu=$(command -v ncu || compgen -G '/opt/nvidia/nsight-compute/*/ncu' | tail -n 1)
  [ -n "$ncu" ] || ncu=$(command -v /usr/local/cuda/bin/ncu)
  if [ -z "$ncu" ]; then
    for name in ncu_step ncu_search ncu_top; do wanted $name && skip $name "ncu isn't there"; done
    return
  fi
  local step=("${hh[@]}" "$bin/hybridhash" bench --config paper --device cuda --mode train --batch 64 --dtype bf16 --steps 1
    --no-graph)
  profile=("$ncu" --target-processes all --clock-control none)
  part 110 ncu_step "${profile[@]}" --cache-control none --metrics "$metrics" --csv --page raw --print-units base \
    --log-file "$OUT/ncu_step.csv" "${step[@]}"
  each_search count_search
  # All that ncu knows of a few kernels, for its own window.
  part 60 ncu_top "${profile[@]}" --set full --launch-skip 60 --launch-count 10 -f -o "$OUT/top" \
    -k 'regex:window_attention|bias_gelu|residual_layer_norm|interaction_merge|partial_sums|add_bias' "${step[@]}"
}
