// SPDX-License-Identifier: Apache-2.0
// Signs of real codes, packed: bit j % 64 of word j / 64 of row i is 1 where values[i,j] > 0, so
// 0, negative values and NaN give 0. Bits past the last are zero.
// Source: docs/specification.md, section 8, "packed codes".
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/work.h"

namespace hh {

struct PackCodes {
  const float* values = nullptr;   // [n, bits] in
  std::uint64_t* words = nullptr;  // [n, ceil(bits / 64)] out
  std::int64_t count = 0;          // n >= 0
  int bits = 0;                    // 1 to 512

  static constexpr int kMaxBits = 512;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(count >= 0, "pack_codes: count = " << count);
    HH_PRECONDITION(bits >= 1 && bits <= kMaxBits, "pack_codes: bits = " << bits);
    HH_PRECONDITION(count == 0 || (values && words), "pack_codes: an array is null");
  }
  Work work() const {
    return {.bytes = double(count) * (4.0 * bits + 8 * ((bits + 63) / 64)), .reads_only = true};
  }
};

namespace cpu {
/// Returns when done; the same bits for any number of threads.
void run(const PackCodes& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
void run(const PackCodes& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh
