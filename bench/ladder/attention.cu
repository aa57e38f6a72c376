// SPDX-License-Identifier: Apache-2.0
#include "bench/ladder/attention_1_three_kernels.cuh"
#include "bench/ladder/attention_2_online_softmax.cuh"
#include "bench/ladder/attention_3_shared_tiles.cuh"
#include "bench/ladder/attention_4_tensor_cores.cuh"
#include "bench/ladder/attention_5_ldmatrix.cuh"

namespace hh::ladder {

std::vector<Rung<Attention>> attention_rungs() {
  return {{"1_three_kernels", attention_three_kernels, attention_scores_bytes},
          {"2_online_softmax", attention_online_softmax},
          {"3_shared_tiles", attention_shared_tiles},
          {"4_tensor_cores", attention_tensor_cores},
          {"5_ldmatrix", attention_ldmatrix}};
}

}  // namespace hh::ladder
