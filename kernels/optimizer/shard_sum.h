// SPDX-License-Identifier: Apache-2.0
// The gradient of one shard of the parameters, out of what each process that trains computed of it:
//
//   sum[i] = parts[0, i] + parts[1, i] + ... + parts[ranks - 1, i]     float32, in this order
//
// The order is that of the ranks, not that of a library or a network, so that the same number of
// processes gives the same bits.
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/work.h"

namespace hh {

struct ShardSum {
  const float* parts = nullptr;  // [ranks, n] in
  float* sum = nullptr;          // [n] out  not among the parts
  int ranks = 1;                 // >= 1
  std::int64_t n = 0;            // >= 0

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(ranks >= 1, "shard_sum: ranks = " << ranks);
    HH_PRECONDITION(n >= 0, "shard_sum: n = " << n);
    HH_PRECONDITION(n == 0 || (parts && sum), "shard_sum: an array is null");
  }
  Work work() const { return {.bytes = 4.0 * double(n) * (ranks + 1)}; }
};

namespace cpu {
/// Returns when done; the same bits for any number of threads.
void run(const ShardSum& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
void run(const ShardSum& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh
