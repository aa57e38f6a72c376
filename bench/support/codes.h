// SPDX-License-Identifier: Apache-2.0
// Packed codes on a device.
#pragma once
#include "bench/support/harness.h"
#include "tests/support/codes.h"

namespace hh::bench {

/// As testing::codes, in a tensor of int64 (whose bytes they are).
inline Tensor codes(Device device, std::int64_t count, int bits, std::uint64_t seed, int centres) {
  if (listing()) return Tensor({1}, DType::i64, device);
  const auto words = testing::codes(count, bits, seed, centres);
  Tensor tensor({std::int64_t(words.size())}, DType::i64, device);
  tensor.copy_from(std::span(reinterpret_cast<const std::int64_t*>(words.data()), words.size()));
  return tensor;
}
inline const std::uint64_t* words(const Tensor& tensor) {
  return reinterpret_cast<const std::uint64_t*>(tensor.raw());
}

}  // namespace hh::bench
