// SPDX-License-Identifier: Apache-2.0
// The 16-bit storage types of activations and codes, as plain bits that host and device share.
// bf16 is float32's upper half; f16 is IEEE binary16. Arithmetic on them is always float32.
#pragma once
#include <bit>
#include <cstdint>

namespace hh {

struct bf16 {
  std::uint16_t bits = 0;
};
struct f16 {
  std::uint16_t bits = 0;
};

inline float to_float(float v) { return v; }
inline float to_float(bf16 v) { return std::bit_cast<float>(std::uint32_t{v.bits} << 16); }

/// Exact: every binary16 value, subnormals included, is a float32.
inline float to_float(f16 v) {
  const std::uint32_t sign = std::uint32_t{v.bits & 0x8000u} << 16;
  const std::uint32_t magnitude = v.bits & 0x7fffu;
  if (magnitude >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude << 13));
  // Scaling by 2^112 moves the exponent bias from 15 to 127 and normalises subnormals.
  const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
}

/// Round to nearest, ties to even. A NaN stays a NaN; overflow gives infinity.
template <class T>
T from_float(float v);

template <>
inline float from_float<float>(float v) {
  return v;
}

template <>
inline bf16 from_float<bf16>(float v) {
  const auto u = std::bit_cast<std::uint32_t>(v);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {std::uint16_t((u >> 16) | 0x40u)};
  return {std::uint16_t((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}

template <>
inline f16 from_float<f16>(float v) {
  const auto u = std::bit_cast<std::uint32_t>(v);
  const auto sign = std::uint16_t((u >> 16) & 0x8000u);
  const std::uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {std::uint16_t(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {std::uint16_t(sign | 0x7c00u)};  // rounds to >= 65520
  if (magnitude < 0x38800000u) {
    // Below the smallest normal: adding 0.5 lines the bits up at 2^-24 and the FPU rounds them.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return {std::uint16_t(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u))};
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return {std::uint16_t(sign | ((rounded - 0x38000000u) >> 13))};
}

}  // namespace hh
