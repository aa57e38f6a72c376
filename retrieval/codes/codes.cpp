// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/codes.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/device/launch.h"
#include "engine/text/counted.h"
#include "kernels/hamming/pack_codes.h"

namespace hh::retrieval {

static_assert(std::endian::native == std::endian::little, "codes are read as little-endian words");

void check_bits(int bits) {
  HH_REQUIRE(bits >= kMinBits && bits <= kMaxBits,
             "codes of " << counted(bits, "bit") << ": use 1 to 512");
}

int hamming_distance(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b) {
  int distance = 0;
  for (std::size_t w = 0; w < a.size(); ++w) distance += std::popcount(a[w] ^ b[w]);
  return distance;
}

PackedCodes::PackedCodes(std::int64_t count, int bits) : count_(count), bits_(bits) {
  check_bits(bits);
  HH_PRECONDITION(count >= 0, "a number of codes can't be " << count);
  words_.resize(std::size_t(count) * std::size_t(row_words()));
}

PackedCodes PackedCodes::from_bytes(std::span<const std::uint8_t> bytes, std::int64_t count,
                                    int bits) {
  check_bits(bits);
  const auto width = std::size_t(bits + 7) / 8;
  HH_REQUIRE(count >= 0 && bytes.size() % width == 0 && bytes.size() / width == std::size_t(count),
             counted(count, "code") << " of " << counted(bits, "bit") << " can't be "
                                    << counted(bytes.size(), "byte") << ": each takes " << width);
  PackedCodes codes(count, bits);
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(codes.row(i).data(), bytes.data() + std::size_t(i) * width, width);
    HH_REQUIRE(bits % 64 == 0 || codes.row(i).back() >> (bits % 64) == 0,
               "code " << i << " has a bit set behind its " << counted(bits, "bit")
                       << ": those of the last byte must be 0");
  }
  return codes;
}

PackedCodes PackedCodes::from_floats(std::span<const float> values, std::int64_t count, int bits) {
  check_bits(bits);
  const auto width = std::size_t(bits);
  HH_REQUIRE(
      count >= 0 && values.size() % width == 0 && values.size() / width == std::size_t(count),
      counted(count, "code") << " of " << counted(bits, "bit") << " can't be "
                             << counted(values.size(), "value") << ": each takes " << bits);
  PackedCodes codes(count, bits);
  launch(kCpu,
         PackCodes{
             .values = values.data(), .words = codes.words_.data(), .count = count, .bits = bits});
  return codes;
}

std::vector<std::uint8_t> PackedCodes::to_bytes() const {
  const auto width = std::size_t(view().row_bytes());
  std::vector<std::uint8_t> bytes(std::size_t(count_) * width);
  for (std::int64_t i = 0; i < count_; ++i) {
    std::memcpy(bytes.data() + std::size_t(i) * width, view().row(i).data(), width);
  }
  return bytes;
}

void PackedCodes::append(CodesView codes) {
  if (count_ == 0) bits_ = codes.bits;
  HH_PRECONDITION(codes.bits == bits_,
                  "codes of " << codes.bits << " bits can't join codes of " << bits_ << " bits");
  words_.insert(words_.end(), codes.words, codes.words + codes.count * codes.row_words());
  count_ += codes.count;
}

void PackedCodes::set(std::int64_t i, int j, bool value) {
  std::uint64_t& word = words_[std::size_t(i * row_words() + j / 64)];
  const std::uint64_t bit = std::uint64_t{1} << (j % 64);
  word = value ? word | bit : word & ~bit;
}

}  // namespace hh::retrieval
