// SPDX-License-Identifier: Apache-2.0
// Accumulation of gradients: y[i] += x[i].
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/work.h"

namespace hh {

template <class T>  // float, bf16 or (GPU) f16
struct Add {
  const T* x = nullptr;  // [n] in   may be y
  T* y = nullptr;        // [n] in/out
  std::int64_t n = 0;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(n >= 0, "add: n = " << n);
    HH_PRECONDITION(n == 0 || (x && y), "add: an array is null");
  }
  Work work() const { return {.bytes = 3.0 * sizeof(T) * double(n)}; }
};

namespace cpu {
template <class T>
void run(const Add<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class T>
void run(const Add<T>& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh
