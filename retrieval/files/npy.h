// SPDX-License-Identifier: Apache-2.0
// NumPy's .npy arrays, for exchange with other programs: versions 1.0 to 3.0, little-endian, C
// order, of the few types that codes and results have. Anything else is refused with the reason.
// Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace hh::retrieval {

/// T: std::uint8_t ("|u1"), std::int32_t ("<i4"), std::int64_t ("<i8") or float ("<f4").
template <class T>
struct NpyArray {
  std::vector<std::int64_t> shape;
  std::vector<T> values;  // row-major
};

/// Throws std::runtime_error with the file's name: not an array of T, cut short, bytes left over.
template <class T>
NpyArray<T> read_npy(const std::filesystem::path& path);
/// The same from memory; `name` is for errors.
template <class T>
NpyArray<T> parse_npy(std::span<const std::byte> bytes, const std::string& name);

/// Atomically, as version 1.0. The number of values must be the shape's. Throws std::runtime_error.
template <class T>
void write_npy(const std::filesystem::path& path, std::span<const std::int64_t> shape,
               std::span<const T> values);

}  // namespace hh::retrieval
