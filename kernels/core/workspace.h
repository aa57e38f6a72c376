// SPDX-License-Identifier: Apache-2.0
// Kernels get their scratch memory from the caller: workspace_bytes(args) says how much, run(args)
// cuts it up. Both go through one function that takes the arrays, so they can't disagree.
#pragma once
#include <cstddef>
#include <cstdint>

namespace hh {

/// Cuts memory into arrays, each on a cache line of its own. Made from null it only measures.
class Workspace {
 public:
  /// `bytes` rounded up to whole cache lines.
  static constexpr std::size_t padded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

  /// Piece `i` of memory that is shared out in pieces of `bytes`.
  static Workspace piece(void* memory, std::int64_t i, std::size_t bytes) {
    return Workspace(static_cast<std::byte*>(memory) + std::size_t(i) * bytes);
  }

  explicit Workspace(void* memory) : memory_(static_cast<std::byte*>(memory)) {}

  /// The next array, of `count` elements; null when measuring.
  template <class T>
  T* take(std::int64_t count) {
    auto* const array = reinterpret_cast<T*>(rest());
    used_ += padded(std::size_t(count) * sizeof(T));
    return array;
  }
  /// What follows the arrays taken so far.
  void* rest() const { return memory_ == nullptr ? nullptr : memory_ + used_; }
  std::size_t bytes() const { return used_; }

 private:
  std::byte* memory_;
  std::size_t used_ = 0;
};

}  // namespace hh
