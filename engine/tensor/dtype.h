// SPDX-License-Identifier: Apache-2.0
// Element types of tensors.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "kernels/core/half.h"

namespace hh {

/// f64 appears in files, reference results and sums only: no network computes in it.
enum class DType : std::uint8_t { f32, bf16, f16, u8, i32, i64, u64, f64 };

constexpr std::size_t size_bytes(DType dtype) {
  switch (dtype) {
    case DType::u8:
      return 1;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::i64:
    case DType::u64:
    case DType::f64:
      return 8;
  }
  return 0;
}

/// "f32", "bf16", ...
constexpr std::string_view name(DType dtype) {
  constexpr std::string_view names[] = {"f32", "bf16", "f16", "u8", "i32", "i64", "u64", "f64"};
  return names[std::size_t(dtype)];
}

/// The type called `text`, one of those a network computes in: "f32", "bf16" or "f16" (which needs
/// a GPU). Throws std::invalid_argument.
DType activation_dtype(std::string_view text);

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<bf16>() {
  return DType::bf16;
}
template <>
constexpr DType dtype_of<f16>() {
  return DType::f16;
}
template <>
constexpr DType dtype_of<std::uint8_t>() {
  return DType::u8;
}
template <>
constexpr DType dtype_of<std::int32_t>() {
  return DType::i32;
}
template <>
constexpr DType dtype_of<std::int64_t>() {
  return DType::i64;
}
template <>
constexpr DType dtype_of<std::uint64_t>() {
  return DType::u64;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::f64;
}

}  // namespace hh
