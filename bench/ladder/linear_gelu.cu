// SPDX-License-Identifier: Apache-2.0
#include "bench/ladder/linear_gelu_1_thread_per_output.cuh"
#include "bench/ladder/linear_gelu_2_shared_tiles.cuh"
#include "bench/ladder/linear_gelu_3_register_tiles.cuh"
#include "bench/ladder/linear_gelu_4_tensor_cores.cuh"
#include "bench/ladder/linear_gelu_5_ldmatrix.cuh"
#include "bench/ladder/linear_gelu_6_pipeline.cuh"
#include "bench/ladder/linear_gelu_7_wide_stores.cuh"

namespace hh::ladder {

std::vector<Rung<LinearGelu>> linear_gelu_rungs() {
  return {{"1_thread_per_output", linear_gelu_thread_per_output},
          {"2_shared_tiles", linear_gelu_shared_tiles},
          {"3_register_tiles", linear_gelu_register_tiles},
          {"4_tensor_cores", linear_gelu_tensor_cores},
          {"5_ldmatrix", linear_gelu_ldmatrix},
          {"6_pipeline", linear_gelu_pipeline},
          {"7_wide_stores", linear_gelu_wide_stores}};
}

}  // namespace hh::ladder
