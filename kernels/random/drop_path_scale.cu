// SPDX-License-Identifier: Apache-2.0
// Mapping   One thread per scale. The rates, host memory, travel in the launch's own arguments.
#include <cstring>

#include "kernels/core/device.cuh"
#include "kernels/core/philox.h"
#include "kernels/random/drop_path_scale.h"

namespace hh::gpu {
namespace {

constexpr int kThreads = 128;
constexpr int kRates = 512;  // per launch: 2 KiB of arguments

struct Rates {
  float v[kRates];
};

__global__ void __launch_bounds__(kThreads)
    drop_path_scale_kernel(const DropPathScale p, const Rates rates, int first_row, int rows) {
  const int i = int(blockIdx.x) * kThreads + int(threadIdx.x);
  if (i >= rows * p.images) return;
  const int r = i / p.images, b = i % p.images, row = first_row + r;
  const Philox random(p.seed, RandomPurpose::kDropPath, std::uint32_t(row));
  const float rate = rates.v[r];
  const int at = p.first + b;
  const Philox::Block block = random.block((p.step << 30) + std::uint64_t(at / 4));
  const bool dropped = float(block.v[at % 4] >> 8) * 0x1p-24f < rate;
  p.scale[std::int64_t{row} * p.images + b] = dropped ? 0 : 1 / (1 - rate);
}

}  // namespace

void run(const DropPathScale& p, StreamHandle stream) {
  p.validate();
  for (int first = 0; first < p.rows && p.images > 0; first += kRates) {
    const int rows = std::min(kRates, p.rows - first);
    Rates rates{};
    std::memcpy(rates.v, p.rate + first, std::size_t(rows) * sizeof(float));
    drop_path_scale_kernel<<<grid_of(ceil_div(std::int64_t{rows} * p.images, kThreads)), kThreads,
                             0, stream>>>(p, rates, first, rows);
    HH_CHECK_LAUNCH(stream);
  }
}

}  // namespace hh::gpu
