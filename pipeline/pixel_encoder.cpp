// SPDX-License-Identifier: Apache-2.0
#include "pipeline/pixel_encoder.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/images/decode.h"
#include "data/sets/dataset.h"
#include "kernels/core/check.h"
#include "model/hybridhash/batch_codes.h"
#include "pipeline/data_source.h"

namespace hh::pipeline {
namespace {

void check(const PixelView& image, std::size_t i) {
  HH_REQUIRE(image.pixels != nullptr, "image " << i << ": no pixels");
  HH_REQUIRE(image.height >= 1 && image.width >= 1, "image " << i << ": " << image.height << " x "
                                                             << image.width
                                                             << " pixels; use at least 1 x 1");
  const std::int64_t most = data::kMostMegapixels * std::int64_t{1'000'000};
  HH_REQUIRE(std::int64_t{image.height} * image.width <= most,
             "image " << i << ": " << image.height << " x " << image.width
                      << " pixels; the limit is " << data::kMostMegapixels << " million");
  HH_REQUIRE(image.channels == 1 || image.channels == 3,
             "image " << i << ": " << image.channels << " channels; use 1 (grey) or 3 (RGB)");
}

bool contiguous(const PixelView& image) {
  return image.channel_stride == 1 && image.pixel_stride == image.channels &&
         image.row_stride == std::int64_t{image.width} * image.channels;
}

/// Whether the transform would give these very pixels.
bool is_transformed(const PixelView& image, const data::TransformSpec& transform) {
  return image.height == transform.size && image.width == transform.size &&
         image.channels == transform.channels && contiguous(image) &&
         (transform.resize == data::Resize::kNone || transform.resize_to == transform.size);
}

/// Whether they are one array [images, S, S, C] that the network can read as it is.
bool is_batch(std::span<const PixelView> images, const data::TransformSpec& transform) {
  const std::int64_t bytes = std::int64_t{transform.size} * transform.size * transform.channels;
  for (std::size_t i = 0; i < images.size(); ++i) {
    if (!is_transformed(images[i], transform)) return false;
    if (i > 0 && images[i].pixels != images[i - 1].pixels + bytes) return false;
  }
  return true;
}

/// The caller's images, for the loader.
class PixelDataset final : public data::Dataset {
 public:
  explicit PixelDataset(std::span<const PixelView> images)
      : Dataset(data::Labels(std::int64_t(images.size()), 1), {}), images_(images) {}
  using Dataset::load;
  std::string name(std::int64_t) const override { return {}; }
  std::string location(std::int64_t index) const override {
    return "image " + std::to_string(index);
  }
  void load(std::int64_t index, data::Image& to) const override {
    const PixelView& from = images_[std::size_t(index)];
    to.reshape(from.height, from.width, from.channels);
    std::uint8_t* out = to.pixels.data();
    for (int y = 0; y < from.height; ++y) {
      const std::uint8_t* row = from.pixels + y * from.row_stride;
      if (from.channel_stride == 1 && from.pixel_stride == from.channels) {
        out = std::copy_n(row, to.row_bytes(), out);
        continue;
      }
      for (int x = 0; x < from.width; ++x) {
        const std::uint8_t* pixel = row + x * from.pixel_stride;
        for (int c = 0; c < from.channels; ++c) *out++ = pixel[c * from.channel_stride];
      }
    }
  }

 private:
  std::span<const PixelView> images_;
};

std::size_t pixel_bytes(const data::TransformSpec& transform) {
  return std::size_t(transform.size) * std::size_t(transform.size) *
         std::size_t(transform.channels);
}

void encode_in_place(const Model& model, std::span<const PixelView> images,
                     const EncoderOptions& options, std::span<float> outputs) {
  const data::TransformSpec& transform = model.info.transform;
  const std::size_t bytes = pixel_bytes(transform);
  const auto bits = std::size_t(model.info.config.bits);
  const PixelStatistics statistics = pixel_statistics(transform);
  const auto batch = std::size_t(options.batch);
  Progress progress(options.listener, "images in memory", std::int64_t(images.size()));
  BatchCodes codes(model.network, statistics, model.dtype, model.device);
  auto out = outputs.begin();
  const auto add = [&](std::optional<std::vector<float>> values) {
    if (!values) return;
    const std::vector<float> codes_of_batch = finite(std::move(*values));
    out = std::copy(codes_of_batch.begin(), codes_of_batch.end(), out);
    progress.update((out - outputs.begin()) / std::int64_t(bits));
  };
  for (std::size_t at = 0; at < images.size(); at += batch) {
    const std::size_t count = std::min(batch, images.size() - at);
    add(codes.put({images[at].pixels, count * bytes}));
  }
  add(codes.finish());
}

}  // namespace

PixelCopies encode_pixels(const Model& model, std::span<const PixelView> images,
                          const EncoderOptions& options, std::span<float> outputs) {
  HH_PRECONDITION(outputs.size() == images.size() * std::size_t(model.info.config.bits),
                  "encode_pixels: " << outputs.size() << " outputs");
  HH_REQUIRE(options.batch >= 1, "batch = " << options.batch << ": use at least 1");
  for (std::size_t i = 0; i < images.size(); ++i) check(images[i], i);
  const auto count = std::int64_t(images.size());
  if (count == 0) return {};
  if (is_batch(images, model.info.transform)) {
    encode_in_place(model, images, options, outputs);
    return {.in_place = count};
  }
  Source source{.dataset = fitting(std::make_shared<PixelDataset>(images), model.info.transform),
                .items = std::vector<std::int64_t>(images.size()),
                .name = "images in memory"};
  std::iota(source.items.begin(), source.items.end(), 0);
  EncoderOptions keeping = options;
  keeping.keep_outputs = true;
  keeping.skip_bad = false;
  const retrieval::CodeSet set = encode_source(model, source, keeping);
  std::copy(set.outputs.begin(), set.outputs.end(), outputs.begin());
  return {.copied = count};
}

void transform_pixels(const Model& model, std::span<const PixelView> images,
                      std::span<std::uint8_t> pixels) {
  const data::TransformSpec& transform = model.info.transform;
  const std::size_t bytes = pixel_bytes(transform);
  HH_PRECONDITION(pixels.size() == images.size() * bytes,
                  "transform_pixels: " << pixels.size() << " bytes");
  for (std::size_t i = 0; i < images.size(); ++i) check(images[i], i);
  const auto given = fitting(std::make_shared<PixelDataset>(images), transform);
  data::Transformer transformer(transform);
  data::Image image;
  for (std::size_t i = 0; i < images.size(); ++i) {
    given->load(std::int64_t(i), image);
    transformer.run(image, {}, &pixels[i * bytes]);
  }
}

std::vector<float> encode_image(const Model& model, const data::Image& image) {
  const PixelView view{.pixels = image.pixels.data(),
                       .height = image.height,
                       .width = image.width,
                       .channels = image.channels,
                       .row_stride = std::int64_t(image.row_bytes()),
                       .pixel_stride = image.channels,
                       .channel_stride = 1};
  std::vector<float> outputs(std::size_t(model.info.config.bits));
  encode_pixels(model, {&view, 1}, {.batch = 1, .workers = 0}, outputs);
  return outputs;
}

}  // namespace hh::pipeline
