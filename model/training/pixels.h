// SPDX-License-Identifier: Apache-2.0
// A batch of 8-bit images as the network takes them.
#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "model/hybridhash/hybridhash.h"

namespace hh {

/// Mean and deviation per channel of pixel values in [0, 1].
struct PixelStatistics {
  std::array<float, 4> mean{0.485f, 0.456f, 0.406f, 0};
  std::array<float, 4> std{0.229f, 0.224f, 0.225f, 1};
};

/// pixels [B, S, S, C], u8, on a device -> normalised patch rows there.
Tensor patch_rows(const HybridHash& network, const Tensor& pixels,
                  const PixelStatistics& statistics, DType dtype);

/// The same for pixels on the host, which are copied to a GPU first; the CPU reads them where they
/// lie.
Tensor patch_rows(const HybridHash& network, std::span<const std::uint8_t> pixels,
                  const PixelStatistics& statistics, DType dtype, Device device);

}  // namespace hh
