// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10, the counter-based random numbers of Salmon and others, "Parallel random numbers:
// as easy as 1, 2, 3", SC 2011. Number i of stream (seed, stream) depends on nothing but those
// three, so results don't depend on threads, batches or devices. Host and device code.
#pragma once
#include <array>
#include <cstdint>

#ifdef __CUDACC__
#define HH_HOST_DEVICE __host__ __device__
#else
#define HH_HOST_DEVICE
#endif

namespace hh {

/// What a stream of random numbers is for; the upper half of the 64-bit stream number.
enum class RandomPurpose : std::uint32_t {
  kInitialisation = 1,
  kDropPath = 2,
  kShuffle = 3,
  kAugmentation = 4,
  kSplit = 5,
  kBootstrap = 6,
  kTest = 7,
};

struct Philox {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;

  Philox() = default;
  HH_HOST_DEVICE Philox(std::uint64_t seed_in, RandomPurpose purpose, std::uint32_t index = 0)
      : seed(seed_in), stream((std::uint64_t(purpose) << 32) | index) {}

  struct Block {
    std::uint32_t v[4];
  };

  /// Four independent 32-bit words: numbers 4*counter .. 4*counter+3 of the stream.
  HH_HOST_DEVICE Block block(std::uint64_t counter) const {
    std::uint32_t c0 = std::uint32_t(counter), c1 = std::uint32_t(counter >> 32);
    std::uint32_t c2 = std::uint32_t(stream), c3 = std::uint32_t(stream >> 32);
    std::uint32_t k0 = std::uint32_t(seed), k1 = std::uint32_t(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0;
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2;
      const std::uint32_t n0 = std::uint32_t(p1 >> 32) ^ c1 ^ k0;
      const std::uint32_t n2 = std::uint32_t(p0 >> 32) ^ c3 ^ k1;
      c1 = std::uint32_t(p1);
      c3 = std::uint32_t(p0);
      c0 = n0;
      c2 = n2;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
  }

  /// Word i of the stream.
  HH_HOST_DEVICE std::uint32_t word(std::uint64_t i) const { return block(i / 4).v[i % 4]; }

  /// Number i as a float in [0, 1), 24 bits.
  HH_HOST_DEVICE float uniform(std::uint64_t i) const { return float(word(i) >> 8) * 0x1p-24f; }

  /// Number i in [0, n), n >= 1, by multiply-high: its bias is below n / 2^32.
  HH_HOST_DEVICE std::uint32_t below(std::uint64_t i, std::uint32_t n) const {
    return std::uint32_t((std::uint64_t{word(i)} * n) >> 32);
  }
};

}  // namespace hh
