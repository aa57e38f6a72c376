// SPDX-License-Identifier: Apache-2.0
// The same arguments on copies of their arrays, so that each call of a graph meets memory that no cache
// holds.
#pragma once
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "engine/device/lent_blocks.h"
#include "engine/tensor/tensor.h"

namespace hh::bench {

/// All sets together: more than any GPU's L2 (B200: 126 MB), so that a set has left it when its turn
/// comes again.
inline constexpr std::size_t kRotated = std::size_t{256} << 20;
inline constexpr std::size_t kMostSets = 512;  // calls of a graph; of arrays of half a megabyte

/// Sets of the arrays that an object names, the first being its own. Copies live as long as this.
class Rotation {
 public:
  /// Arrays are found as words of the object that are addresses in Storages which `lent` knows. One
  /// set where they are less than half of the `bytes` that a call moves: what it reads is named
  /// elsewhere then, in a list on the host. One set also where it alone is more than a cache holds.
  Rotation(Device device, std::span<const std::byte> object, double bytes, const LentBlocks& lent);

  std::size_t sets() const { return sets_; }
  /// Whether the sets together are more than a cache holds.
  bool beyond_caches() const { return sets_ * set_bytes_ >= kRotated; }
  /// The object with the addresses of a set.
  template <class Args>
  Args at(std::size_t set, Args args) const {
    static_assert(std::is_trivially_copyable_v<Args>);
    for (const Word& w : words_) {
      std::byte* const to = block(w.block, set) + w.offset_in_block;
      std::memcpy(reinterpret_cast<std::byte*>(&args) + w.offset, &to, sizeof to);
    }
    return args;
  }

 private:
  struct Word {
    std::size_t offset, block, offset_in_block;  // in the object; which; bytes
  };
  std::byte* block(std::size_t which, std::size_t set) const;

  std::vector<Word> words_;
  std::vector<LentBlocks::Block> blocks_;
  std::vector<Tensor> copies_;  // of each block in turn, sets_ - 1 behind one another
  std::size_t sets_ = 1, set_bytes_ = 0;
};

}  // namespace hh::bench
