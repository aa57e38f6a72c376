// SPDX-License-Identifier: Apache-2.0
// Mapping   One warp per 32 bits: a vote packs them. Lanes read neighbouring values.
// Traffic   values are read once; words are a 32nd of that.
#include "kernels/core/device.cuh"
#include "kernels/hamming/pack_codes.h"

namespace hh::gpu {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarpSize;

__global__ void __launch_bounds__(kThreads) pack_codes_kernel(const PackCodes p, int halves) {
  const int lane = int(threadIdx.x) % kWarpSize;
  const std::int64_t i = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpSize;
  if (i >= p.count * halves) return;  // a warp leaves whole
  const std::int64_t row = i / halves;
  const int half = int(i % halves), bit = half * kWarpSize + lane;
  const bool set = bit < p.bits && p.values[row * p.bits + bit] > 0;
  const unsigned packed = __ballot_sync(kFullMask, set);
  // Little-endian halves of a 64-bit word.
  if (lane == 0) reinterpret_cast<std::uint32_t*>(p.words)[i] = packed;
}

}  // namespace

void run(const PackCodes& p, StreamHandle stream) {
  p.validate();
  if (p.count == 0) return;
  const int halves = 2 * ceil_div(p.bits, 64);
  pack_codes_kernel<<<grid_of(ceil_div(p.count * halves, kWarps)), kThreads, 0, stream>>>(p,
                                                                                          halves);
  HH_CHECK_LAUNCH(stream);
}

}  // namespace hh::gpu
