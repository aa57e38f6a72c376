// SPDX-License-Identifier: Apache-2.0
// Mapping   A block has 32 columns of one array: 32 rows of threads take every 32nd row of sums, and
//           the first of them adds up the 32 (column_sum.cuh). Which op's sums a block has it finds
//           in the launch's arguments, which hold those of 128 ops.
// Traffic   reads all rows once.
#include "kernels/core/column_sum.cuh"
#include "kernels/elementwise/add_partial_sums.h"

namespace hh::gpu {

void run(const AddPartialSums& p, StreamHandle stream) {
  p.validate();
  // 6.7 KB of arguments: more than 4 KB need a driver of CUDA 12.1, and we need one of 13.
  constexpr int kAtOnce = 128;
  add_partial_sums<kAtOnce>(p.sums, p.count, stream);
}

}  // namespace hh::gpu
