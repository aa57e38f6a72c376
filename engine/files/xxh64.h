// SPDX-License-Identifier: Apache-2.0
// XXH64, the check sum of an index's files and of lists of images: faster than the memory it reads.
// Source: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace hh {

/// Of bytes that come piece by piece; how they are cut doesn't matter.
class Xxh64 {
 public:
  explicit Xxh64(std::uint64_t seed = 0);
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  /// Of all bytes so far.
  std::uint64_t value() const;

 private:
  static constexpr std::size_t kBlock = 32;
  void take_block(const std::byte* block);

  std::uint64_t seed_;
  std::array<std::uint64_t, 4> lanes_;
  std::array<std::byte, kBlock> rest_;  // of total_ % kBlock bytes
  std::uint64_t total_ = 0;
};

std::uint64_t xxh64(std::span<const std::byte> bytes, std::uint64_t seed = 0);

/// Sixteen hexadecimal digits.
std::string xxh64_text(std::uint64_t sum);
/// The sum of such a text; nothing of any other.
std::optional<std::uint64_t> parse_xxh64(const std::string& text);

}  // namespace hh
