// SPDX-License-Identifier: Apache-2.0
#include "bench/ladder/layer_norm_1_thread_per_row.cuh"
#include "bench/ladder/layer_norm_2_warp_per_row.cuh"
#include "bench/ladder/layer_norm_3_row_in_registers.cuh"
#include "bench/ladder/layer_norm_4_vectors.cuh"

namespace hh::ladder {

std::vector<Rung<LayerNorm>> layer_norm_rungs() {
  return {{"1_thread_per_row", layer_norm_thread_per_row},
          {"2_warp_per_row", layer_norm_warp_per_row},
          {"3_row_in_registers", layer_norm_row_in_registers},
          {"4_vectors", layer_norm_vectors}};
}

}  // namespace hh::ladder
