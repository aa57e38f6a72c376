// SPDX-License-Identifier: Apache-2.0
#include "model/training/pixels.h"

#include "engine/ops/blocks.h"

namespace hh {

Tensor patch_rows(const HybridHash& network, const Tensor& pixels,
                  const PixelStatistics& statistics, DType dtype) {
  const std::size_t channels = std::size_t(network.config().in_channels);
  return patchify_pixels(pixels, network.patch_shape(int(pixels.dim(0))),
                         std::span(statistics.mean).first(channels),
                         std::span(statistics.std).first(channels), dtype);
}

Tensor patch_rows(const HybridHash& network, std::span<const std::uint8_t> pixels,
                  const PixelStatistics& statistics, DType dtype, Device device) {
  const HybridHashConfig& c = network.config();
  const std::int64_t image = std::int64_t{c.image_size} * c.image_size * c.in_channels;
  const std::int64_t images = std::int64_t(pixels.size()) / image;
  HH_PRECONDITION(std::int64_t(pixels.size()) == images * image,
                  pixels.size() << " pixel values aren't a whole number of images of " << image);
  if (device.kind == DeviceKind::kCpu) {  // read where they lie
    const std::size_t channels = std::size_t(c.in_channels);
    return patchify_pixels(pixels.data(), device, network.patch_shape(int(images)),
                           std::span(statistics.mean).first(channels),
                           std::span(statistics.std).first(channels), dtype);
  }
  return patch_rows(
      network, Tensor::from(pixels, {images, c.image_size, c.image_size, c.in_channels}, device),
      statistics, dtype);
}

}  // namespace hh
