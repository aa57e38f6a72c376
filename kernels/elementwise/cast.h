// SPDX-License-Identifier: Apache-2.0
// Conversion between storage types, rounding to nearest even: to[i] = From -> To of from[i].
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/work.h"

namespace hh {

template <class From, class To>  // float -> bf16, bf16 -> float, float -> f16, f16 -> float
struct Cast {
  const From* from = nullptr;  // [n] in
  To* to = nullptr;            // [n] out
  std::int64_t n = 0;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(n >= 0, "cast: n = " << n);
    HH_PRECONDITION(n == 0 || (from && to), "cast: an array is null");
  }
  Work work() const { return {.bytes = double(sizeof(From) + sizeof(To)) * double(n)}; }
};

namespace cpu {
template <class From, class To>
void run(const Cast<From, To>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class From, class To>
void run(const Cast<From, To>& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh
