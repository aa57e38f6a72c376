// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4), by which model files are known and results compared.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace hh {

class Sha256 {
 public:
  void update(std::span<const std::byte> bytes);
  void update(const std::string& text) {
    update(std::as_bytes(std::span(text.data(), text.size())));
  }
  /// 64 hexadecimal digits. Ends the object's use.
  std::string hex();

 private:
  void block(const std::byte* bytes);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> buffer_{};
  std::uint64_t length_ = 0;  // bytes so far
};

}  // namespace hh
