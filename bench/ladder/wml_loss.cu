// SPDX-License-Identifier: Apache-2.0
#include "bench/ladder/wml_loss_1_stored_theta.cuh"
#include "bench/ladder/wml_loss_2_streaming.cuh"
#include "bench/ladder/wml_loss_3_shared_tiles.cuh"
#include "bench/ladder/wml_loss_4_padding.cuh"

namespace hh::ladder {

std::vector<Rung<Loss>> wml_loss_rungs() {
  return {{"1_stored_theta", wml_loss_stored_theta, wml_loss_theta_bytes},
          {"2_streaming", wml_loss_streaming, wml_loss_chunk_bytes},
          {"3_shared_tiles", wml_loss_shared_tiles, wml_loss_chunk_bytes},
          {"4_padding", wml_loss_padding, wml_loss_chunk_bytes}};
}

}  // namespace hh::ladder
