// SPDX-License-Identifier: Apache-2.0
// The safetensors format: 8 bytes of header length (little-endian), a JSON header that gives name,
// dtype, shape and byte range of every tensor, then the bytes. Nothing in a file is trusted.
// Source: https://github.com/huggingface/safetensors, "Format".
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/files/file.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/tensor.h"

namespace hh {

/// A file opened for reading, memory-mapped.
class SafetensorsFile {
 public:
  /// Element types in files are a few more than those of our tensors.
  struct Entry {
    std::string dtype;                // as the file says: "F32", "BF16", "U8", "BOOL", ...
    std::vector<std::int64_t> shape;  // may have more axes than a Tensor can
    std::span<const std::byte> bytes;
    std::int64_t count() const;
  };

  /// Throws std::runtime_error naming the file and what is wrong: a header longer than the file or
  /// 100 MB, JSON that isn't one, unknown types, sizes that don't fit shapes, ranges that overlap,
  /// leave gaps or pass the end.
  static SafetensorsFile open(const std::filesystem::path& path);
  /// The same from memory, which must outlive it; `name` is for errors.
  static SafetensorsFile parse(std::span<const std::byte> bytes, const std::string& name);

  bool contains(const std::string& name) const { return entries_.contains(name); }
  std::vector<std::string> names() const;
  /// Throws std::runtime_error when there is no such tensor.
  const Entry& entry(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// All values of a tensor, converted: floats from F64, F32, F16, BF16 and every integer type,
  /// 64-bit integers from every integer type and BOOL.
  std::vector<float> to_floats(const std::string& name) const;
  std::vector<double> to_doubles(const std::string& name) const;
  std::vector<std::int64_t> to_int64s(const std::string& name) const;

 private:
  MappedFile file_;
  std::string name_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// The bytes before the first tensor, and the order in which tensors follow: those of larger elements
/// first, so that each is aligned to its element. The data starts on a 64-byte boundary.
struct SafetensorsHead {
  std::string bytes;
  std::vector<std::size_t> order;  // positions in `tensors`
};
struct SafetensorsTensor {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
};
SafetensorsHead safetensors_head(const std::vector<SafetensorsTensor>& tensors,
                                 const std::map<std::string, std::string>& metadata);

/// What to write: a tensor on any device, or host bytes.
struct SafetensorsItem {
  std::string name;
  std::string dtype;  // "F32", "F16", "BF16", "F64", "U8", "I32", "I64", "U64"
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

/// Writes atomically. Throws std::runtime_error.
void write_safetensors(const std::filesystem::path& path, const std::vector<SafetensorsItem>& items,
                       const std::map<std::string, std::string>& metadata);

/// "F32" for DType::f32, and so on.
std::string safetensors_dtype(DType dtype);

}  // namespace hh
