// SPDX-License-Identifier: Apache-2.0
// Packed codes on a device.
#pragma once
#include "bench/support/harness.h"
#include "kernels/hamming/pack_codes.h"
#include "kernels/random/drop_path_scale.h"
#include "tests/support/codes.h"

namespace hh::bench {

/// As testing::codes, in a tensor.
inline Tensor codes(Device device, std::int64_t count, int bits, std::uint64_t seed, int centres) {
  if (listing()) return Tensor({1}, DType::u64, device);
  const auto words = testing::codes(count, bits, seed, centres);
  Tensor tensor({std::int64_t(words.size())}, DType::u64, device);
  tensor.copy_from(std::span<const std::uint64_t>(words));
  return tensor;
}

/// Random codes of 64 bits, made by the device: a billion of them in a second on a GPU.
inline Tensor random_codes(Device device, std::int64_t count, std::uint64_t seed) {
  if (listing()) return Tensor({1}, DType::u64, device);
  constexpr int kBits = 64, kRows = 512, kColumns = 1 << 14;
  constexpr std::int64_t kAtOnce = std::int64_t{kRows} * kColumns / kBits;
  const Tensor codes({count}, DType::u64, device), draws({kRows, kColumns}, DType::f32, device);
  const std::vector<float> rates(kRows, 0.5f);
  for (std::int64_t first = 0; first < count; first += kAtOnce) {
    launch(device, DropPathScale{.rate = rates.data(),
                                 .scale = draws.data<float>(),
                                 .rows = kRows,
                                 .images = kColumns,
                                 .seed = seed,
                                 .step = std::uint64_t(first / kAtOnce)});
    launch(device, PackCodes{.values = draws.data<float>(),
                             .words = codes.data<std::uint64_t>() + first,
                             .count = std::min(kAtOnce, count - first),
                             .bits = kBits});
  }
  return codes;
}
inline const std::uint64_t* words(const Tensor& tensor) { return tensor.data<std::uint64_t>(); }

}  // namespace hh::bench
