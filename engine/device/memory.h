// SPDX-License-Identifier: Apache-2.0
// Memory of tensors: blocks on a device with counted owners, from a caching allocator.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "engine/device/device.h"
#include "kernels/core/function_ref.h"

namespace hh {

/// What the caching allocator of a device holds. Bytes.
struct MemoryStatistics {
  std::size_t in_use = 0;                // lent to Storages now
  std::size_t peak_in_use = 0;           // the most at once since the last reset
  std::size_t reserved = 0;              // taken from the device, in use or kept for reuse
  std::uint64_t allocations = 0;         // Storages made
  std::uint64_t device_allocations = 0;  // of those, how many had to ask the device
};

MemoryStatistics memory_statistics(Device device);
void reset_peak_memory(Device device);

/// Gives what is kept for reuse back to the device. It also happens by itself when memory runs out.
void release_cached_memory(Device device);

/// Blocks of a device kept apart from all others: while a UsePool names it, Storages are made in
/// it, and its memory is lent to nothing else until the pool is gone. A graph of launches needs
/// that: it writes to the same addresses each time it runs.
class MemoryPool {
 public:
  explicit MemoryPool(Device device);
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;
  Device device() const { return device_; }

 private:
  friend class CachingAllocator;
  Device device_;
  std::map<std::size_t, std::vector<std::byte*>> free_;  // by size class
};

/// Makes a pool the one of this thread's new Storages for its own lifetime.
class UsePool {
 public:
  explicit UsePool(std::shared_ptr<MemoryPool> pool);
  ~UsePool();
  UsePool(const UsePool&) = delete;
  UsePool& operator=(const UsePool&) = delete;

 private:
  std::shared_ptr<MemoryPool> previous_;
};

/// An owned block of bytes on one device, 64-byte aligned. Its memory goes back to the cache when
/// the last owner leaves. Reuse is in stream order, so a kernel already queued may still be reading
/// it.
class Storage {
 public:
  /// Throws OutOfMemory.
  Storage(std::size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  std::shared_ptr<MemoryPool> pool_;  // null: the device's own
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  Device device_;
};

/// Makes a kernel's scratch memory of bytes(); none of 0. Where there isn't enough, whichever kernel
/// it is for, products are told to do with less from then on, and bytes() is asked again. Not while a
/// graph is recorded: steps without one may get enough, and then have the bits that they had before.
/// Throws OutOfMemory.
void lend_scratch(FunctionRef<std::size_t()> bytes, Device device, std::optional<Storage>& to);

}  // namespace hh
