// SPDX-License-Identifier: Apache-2.0
// Idea    A float more a row: the 32 rows that a warp reads at one bit begin in 32 banks.
// Gains   One wavefront a read where rung 3 has 32.
// Costs   Every product still fetches operands from shared memory, and one block counts the
//         pairs. The product's kernel makes theta and the gradient on tensor cores, from
//         float32 split in three bf16, and counts pairs with a table of the images of each
//         class.
#pragma once
#include "bench/ladder/wml_loss_3_shared_tiles.cuh"

namespace hh::ladder {

inline void wml_loss_padding(const Loss& p, StreamHandle stream) { wml_loss_tiles<1>(p, stream); }

}  // namespace hh::ladder
