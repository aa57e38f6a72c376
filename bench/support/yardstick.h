// SPDX-License-Identifier: Apache-2.0
// What the machine can do at best, measured in the same run as the kernels.
#pragma once
#include <functional>
#include <vector>

#include "bench/support/calls.h"
#include "bench/support/record.h"
#include "engine/device/device.h"

namespace hh::bench {

struct Yardstick {
  double copy_gb_s;     // read and written, a copy of 128 MiB by all threads
  double gemm_tflop_s;  // the kernels' product (linear.h) of 1024 x 1024 matrices
};
const Yardstick& yardstick(Device device, bool half_product);

/// The least time of a copy that reads and writes `bytes` in all or, on the CPU with `reads_only`,
/// of reading them. Threads cost more than they bring for small arrays, so both one thread and all
/// are tried. Arrays that fit in a cache stay there, as the benchmark's own do.
double copy_us(Device device, double bytes, bool reads_only);

/// A Round whose product and copy, small ones, are timed now.
Round reference_now(Device device, bool half_product);

struct Samples {
  double seconds;  // of samples, about
  std::size_t least, most;
  bool always_warm;  // else caches hold nothing of it if the run is a cold one
};
/// Samples of a call in microseconds, ascending, after some that don't count: by the host's clock,
/// or of what it queues on a GPU by events.
std::vector<double> sample(Device device, Samples wanted, const std::function<void()>& call);
/// The same of calls that differ in their arrays alone, each as often as the others.
std::vector<double> sample(Device device, Samples wanted, const Calls& calls);

}  // namespace hh::bench
