// SPDX-License-Identifier: Apache-2.0
// Bytes of a file, a pipe or stdin, in order.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace hh::data {

/// What stands for stdin in place of a path.
inline constexpr const char* kStdin = "-";

class Input {
 public:
  /// Throws std::runtime_error, TryAgain.
  explicit Input(const std::string& path);
  ~Input();
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  /// "stdin" or the path.
  const std::string& name() const { return name_; }
  /// A file proper, whose bytes are there and can be read twice.
  bool is_regular() const { return regular_; }

  /// Throws std::runtime_error unless it is regular: shards need to know the whole `kind`, "list"
  /// say, before its images.
  void require_regular(const char* kind) const;

  /// Up to `room` bytes; 0 at the end, or soon after `stop` is set while it waits for a pipe.
  /// Throws TryAgain or std::runtime_error.
  std::size_t read(void* to, std::size_t room, const std::atomic<bool>& stop);
  /// Over so many bytes of a regular file; past its end a read gives 0.
  void skip(std::int64_t bytes);

 private:
  std::string name_;
  int descriptor_ = -1;
  bool regular_ = false;
};

}  // namespace hh::data
