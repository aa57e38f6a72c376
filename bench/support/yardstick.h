// What the machine can do at best, measured in the same run as the kernels.
#pragma once
#include <functional>
#include <vector>

#include "engine/device.h"

namespace hh::bench {

struct Yardstick {
  double copy_gb_s;     // read and written, a copy of 128 MiB by all threads
  double gemm_tflop_s;  // the library's product (oneDNN, cuBLASLt) of 1024 x 1024 matrices
};
const Yardstick& yardstick(Device device, bool bf16_product);

/// A copy that reads and writes `bytes` in all: for arrays that fit in a cache, faster than above.
double copy_us(Device device, double bytes);

/// Samples of a call in microseconds, ascending: at least 15, about `seconds` in all.
std::vector<double> sample(Device device, double seconds, const std::function<void()>& call);

}  // namespace hh::bench
