// SPDX-License-Identifier: Apache-2.0
// Packed codes on a device.
#pragma once
#include "bench/support/harness.h"
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
inline const std::uint64_t* words(const Tensor& tensor) { return tensor.data<std::uint64_t>(); }

}  // namespace hh::bench
