// SPDX-License-Identifier: Apache-2.0
#include "bench/support/rotation.h"

#include <algorithm>

#include "engine/device/backend.h"

namespace hh::bench {
namespace {

/// Between copies: as aligned as memory of the driver.
std::size_t stride(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

Rotation::Rotation(Device device, std::span<const std::byte> object, double bytes,
                   const LentBlocks& lent) {
  for (std::size_t at = 0; at + sizeof(std::byte*) <= object.size(); at += alignof(std::byte*)) {
    std::byte* address = nullptr;
    std::memcpy(&address, object.data() + at, sizeof address);
    const auto found = lent.holding(address, device);
    if (!found) continue;
    const auto same = [&](const LentBlocks::Block& b) { return b.data == found->data; };
    const auto known = std::find_if(blocks_.begin(), blocks_.end(), same);
    words_.push_back(
        {at, std::size_t(known - blocks_.begin()), std::size_t(address - found->data)});
    if (known == blocks_.end()) blocks_.push_back(*found);
  }
  for (const auto& b : blocks_) set_bytes_ += b.bytes;
  if (double(set_bytes_) < bytes / 2 || set_bytes_ >= kRotated) return;
  sets_ =
      std::clamp(kRotated / std::max<std::size_t>(set_bytes_, 1) + 2, std::size_t{2}, kMostSets);
  for (const auto& b : blocks_) {
    const Tensor copy({std::int64_t(stride(b.bytes) * (sets_ - 1))}, DType::u8, device);
    for (std::size_t set = 1; set < sets_; ++set) {
      backend(device).copy_within(copy.raw() + stride(b.bytes) * (set - 1), b.data, b.bytes);
    }
    copies_.push_back(copy);
  }
}

std::byte* Rotation::block(std::size_t which, std::size_t set) const {
  const auto& b = blocks_[which];
  return set == 0 ? b.data : copies_[which].raw() + stride(b.bytes) * (set - 1);
}

}  // namespace hh::bench
