// SPDX-License-Identifier: Apache-2.0
#include "engine/device/memory.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/device/backend.h"
#include "engine/device/lent_blocks.h"
#include "engine/device/profiler.h"
#include "engine/text/log.h"

namespace hh {
namespace {

/// Blocks are kept by size class and lent to the next Storage of that class. Classes are eighths of
/// powers of two (at most 12.5 % wasted), so the slightly different sizes of a last short batch
/// find the blocks of the full ones.
std::size_t size_class(std::size_t bytes) {
  if (bytes <= 512) return 512;
  const std::size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

/// The pool of this thread's new Storages; null: the device's own.
thread_local std::shared_ptr<MemoryPool> pool_in_use;

thread_local LentBlocks* lent_blocks = nullptr;

}  // namespace

class CachingAllocator {
 public:
  explicit CachingAllocator(Device device) : device_(device) {}

  /// From `pool`, or from the device's own blocks if it is null.
  std::byte* take(std::size_t bytes, MemoryPool* pool) {
    const std::size_t size = size_class(bytes);
    const std::scoped_lock lock(mutex_);
    std::byte* block = nullptr;
    if (auto& free = (pool != nullptr ? pool->free_ : free_)[size]; !free.empty()) {
      block = free.back();
      free.pop_back();
    } else {
      block = from_device(size);
    }
    ++statistics_.allocations;
    statistics_.in_use += size;
    statistics_.peak_in_use = std::max(statistics_.peak_in_use, statistics_.in_use);
    profile();
    return block;
  }

  void give_back(std::byte* block, std::size_t bytes, MemoryPool* pool) {
    const std::size_t size = size_class(bytes);
    const std::scoped_lock lock(mutex_);
    (pool != nullptr ? pool->free_ : free_)[size].push_back(block);
    statistics_.in_use -= size;
    profile();
  }

  /// The blocks of a pool that ends, all given back, become the device's own.
  void take_over(MemoryPool& pool) {
    const std::scoped_lock lock(mutex_);
    for (auto& [size, blocks] : pool.free_) {
      auto& own = free_[size];
      own.insert(own.end(), blocks.begin(), blocks.end());
    }
  }

  void release_cached() {
    const std::scoped_lock lock(mutex_);
    release_cached_locked();
  }

  MemoryStatistics statistics() {
    const std::scoped_lock lock(mutex_);
    return statistics_;
  }

  void reset_peak() {
    const std::scoped_lock lock(mutex_);
    statistics_.peak_in_use = statistics_.in_use;
  }

 private:
  void profile() const {
    Profiler* const profiler = Profiler::active();
    if (profiler == nullptr) return;
    profiler->add({.device = device_,
                   .at = Profiler::Clock::now(),
                   .in_use = statistics_.in_use,
                   .reserved = statistics_.reserved});
  }

  std::byte* from_device(std::size_t size) {
    const ProfileRange range("allocate", "allocation", size);
    void* block = nullptr;
    try {
      block = backend(device_).allocate(size);
    } catch (const OutOfMemory&) {
      if (backend(device_).recording()) throw;  // giving memory back waits for the device
      release_cached_locked();
      block = backend(device_).allocate(size);
    }
    statistics_.reserved += size;
    ++statistics_.device_allocations;
    return static_cast<std::byte*>(block);
  }

  void release_cached_locked() {
    backend(device_).synchronize();  // queued kernels may still read the blocks
    for (auto& [size, blocks] : free_) {
      for (std::byte* block : blocks) backend(device_).release(block);
      statistics_.reserved -= size * blocks.size();
      blocks.clear();
    }
  }

  Device device_;
  std::mutex mutex_;
  std::map<std::size_t, std::vector<std::byte*>> free_;
  MemoryStatistics statistics_;
};

namespace {

/// Never destroyed: tensors of static duration may outlive any order of destruction.
CachingAllocator& allocator(Device device) {
  static auto& allocators = *new std::map<Device, std::unique_ptr<CachingAllocator>>;
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  auto& slot = allocators[device];
  if (!slot) slot = std::make_unique<CachingAllocator>(device);
  return *slot;
}

}  // namespace

MemoryStatistics memory_statistics(Device device) { return allocator(device).statistics(); }
void reset_peak_memory(Device device) { allocator(device).reset_peak(); }
void release_cached_memory(Device device) { allocator(device).release_cached(); }

MemoryPool::MemoryPool(Device device) : device_(device) {}
MemoryPool::~MemoryPool() { allocator(device_).take_over(*this); }

UsePool::UsePool(std::shared_ptr<MemoryPool> pool)
    : previous_(std::exchange(pool_in_use, std::move(pool))) {}
UsePool::~UsePool() { pool_in_use = std::move(previous_); }

LentBlocks::LentBlocks() : previous_(std::exchange(lent_blocks, this)) {}
LentBlocks::~LentBlocks() { lent_blocks = previous_; }
LentBlocks* LentBlocks::current() { return lent_blocks; }

void LentBlocks::lend(std::byte* data, std::size_t bytes, Device device) {
  blocks_[device][data] = bytes;
}
void LentBlocks::take_back(std::byte* data, Device device) {
  blocks_[device].erase(data);
  if (previous_ != nullptr) previous_->take_back(data, device);
}

std::optional<LentBlocks::Block> LentBlocks::holding(std::byte* address, Device device) const {
  const auto of_device = blocks_.find(device);
  if (of_device == blocks_.end()) return {};
  auto next = of_device->second.upper_bound(address);
  if (next == of_device->second.begin()) return {};
  const auto& [data, bytes] = *--next;
  if (address >= data + bytes) return {};
  return Block{data, bytes};
}

Storage::Storage(std::size_t bytes, Device device)
    : pool_(pool_in_use && pool_in_use->device() == device ? pool_in_use : nullptr),
      data_(allocator(device).take(bytes, pool_.get())),
      bytes_(bytes),
      device_(device) {
  if (lent_blocks != nullptr) lent_blocks->lend(data_, bytes, device);
}

Storage::~Storage() {
  if (lent_blocks != nullptr) lent_blocks->take_back(data_, device_);
  allocator(device_).give_back(data_, bytes_, pool_.get());
}

void lend_scratch(FunctionRef<std::size_t()> bytes, Device device, std::optional<Storage>& to) {
  std::size_t asked = 0;
  const auto lend = [&] {
    asked = bytes();
    if (asked > 0) to.emplace(asked, device);
  };
  try {
    lend();
  } catch (const OutOfMemory&) {
    Backend& on = backend(device);
    if (on.recording()) throw;
    if (on.use_less_scratch()) {
      log(LogLevel::kWarning,
          "the GPU is nearly full: from now on matrix products do without scratch memory, which "
          "may be slower and change their last bits; a smaller batch leaves more");
    }
    // It may also have been another thread that had them do so, after this one had asked.
    if (bytes() >= asked) throw;
    lend();
  }
}

}  // namespace hh
