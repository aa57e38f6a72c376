// SPDX-License-Identifier: Apache-2.0
#include "model/training/pixels.h"

#include "engine/ops/blocks.h"

namespace hh {
namespace {

/// Of pixels where `device` can read them.
Tensor patch_rows(const HybridHash& network, const std::uint8_t* pixels, Device device,
                  std::int64_t images, const PixelStatistics& statistics, DType dtype) {
  const std::size_t channels = std::size_t(network.config().in_channels);
  return patchify_pixels(pixels, device, network.patch_shape(int(images)),
                         std::span(statistics.mean).first(channels),
                         std::span(statistics.std).first(channels), dtype);
}

}  // namespace

Tensor patch_rows(const HybridHash& network, const Tensor& pixels,
                  const PixelStatistics& statistics, DType dtype) {
  return patch_rows(network, pixels.data<std::uint8_t>(), pixels.device(), pixels.dim(0),
                    statistics, dtype);
}

Tensor patch_rows(const HybridHash& network, std::span<const std::uint8_t> pixels,
                  const PixelStatistics& statistics, DType dtype, Device device) {
  const HybridHashConfig& c = network.config();
  const std::int64_t image = std::int64_t{c.image_size} * c.image_size * c.in_channels;
  const std::int64_t images = std::int64_t(pixels.size()) / image;
  HH_PRECONDITION(std::int64_t(pixels.size()) == images * image,
                  pixels.size() << " pixel values aren't a whole number of images of " << image);
  if (device.kind == DeviceKind::kCpu) {
    return patch_rows(network, pixels.data(), device, images, statistics, dtype);
  }
  return patch_rows(
      network, Tensor::from(pixels, {images, c.image_size, c.image_size, c.in_channels}, device),
      statistics, dtype);
}

}  // namespace hh
