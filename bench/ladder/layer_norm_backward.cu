// SPDX-License-Identifier: Apache-2.0
#include "bench/ladder/layer_norm_backward_1_two_passes.cuh"
#include "bench/ladder/layer_norm_backward_2_chunks.cuh"
#include "bench/ladder/layer_norm_backward_3_one_pass.cuh"
#include "bench/ladder/layer_norm_backward_4_block_sums.cuh"

namespace hh::ladder {

std::vector<Rung<LayerNormBackward>> layer_norm_backward_rungs() {
  return {{"1_two_passes", layer_norm_backward_two_passes, LayerNormMeans::bytes},
          {"2_chunks", layer_norm_backward_chunks, layer_norm_chunk_bytes},
          {"3_one_pass", layer_norm_backward_one_pass, layer_norm_warp_bytes},
          {"4_block_sums", layer_norm_backward_block_sums, layer_norm_block_bytes}};
}

}  // namespace hh::ladder
