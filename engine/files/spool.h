// SPDX-License-Identifier: Apache-2.0
// Bytes that are gathered before they have their place in a file: in memory while they are few, else
// in a file without a name, which is gone with the process whatever ends it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include "engine/files/file.h"

namespace hh {

class Spool {
 public:
  /// `folder` has room for them, when it comes to that.
  explicit Spool(std::filesystem::path folder) : folder_(std::move(folder)) {}
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Both throw DiskFull, TryAgain or another std::runtime_error.
  void append(std::span<const std::byte> bytes);
  void copy_to(AtomicFile& file) const;
  std::int64_t bytes() const { return written_ + std::int64_t(buffer_.size()); }

 private:
  void flush();

  std::filesystem::path folder_;
  int descriptor_ = -1;
  std::int64_t written_ = 0;  // to the file; the buffer's come behind them
  std::string buffer_;
};

}  // namespace hh
