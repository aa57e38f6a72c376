// SPDX-License-Identifier: Apache-2.0
// Which memory an address is in: for tools that copy the arrays of a kernel's arguments.
#pragma once
#include <cstddef>
#include <map>
#include <optional>

#include "engine/device/device.h"

namespace hh {

/// Notes the Storages that the thread makes while it lives; the innermost is in use.
class LentBlocks {
 public:
  LentBlocks();
  ~LentBlocks();
  LentBlocks(const LentBlocks&) = delete;
  LentBlocks& operator=(const LentBlocks&) = delete;

  /// The thread's innermost, or null.
  static LentBlocks* current();

  struct Block {
    std::byte* data;
    std::size_t bytes;
  };
  /// The noted Storage of the device that still lives and holds this address.
  std::optional<Block> holding(std::byte* address, Device device) const;

 private:
  friend class Storage;
  void lend(std::byte* data, std::size_t bytes, Device device);
  void take_back(std::byte* data, Device device);

  LentBlocks* previous_;
  std::map<Device, std::map<std::byte*, std::size_t>> blocks_;
};

}  // namespace hh
