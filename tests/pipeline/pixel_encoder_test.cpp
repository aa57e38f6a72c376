// SPDX-License-Identifier: Apache-2.0
#include "pipeline/pixel_encoder.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "data/images/resize.h"
#include "kernels/core/philox.h"

namespace hh::pipeline {
namespace {

/// An untrained model of 16 x 16 pixels.
std::unique_ptr<Model> tiny_model(data::Resize resize, int resize_to) {
  ModelInfo info;
  info.config.image_size = 16;
  info.config.patch = 2;
  info.config.dims = {8, 16, 16};
  info.config.heads = {1, 2, 2};
  info.config.depths = {1, 1, 1};
  info.config.bits = 16;
  info.config.in_channels = 3;
  info.transform = {.size = 16, .channels = 3, .resize = resize, .resize_to = resize_to};
  auto model = std::make_unique<Model>(info, kCpu, DType::f32);
  const Philox random(7, RandomPurpose::kTest);
  std::uint64_t draw = 0;
  for (const Parameter& p : model->parameters.all()) {
    std::vector<float> values(std::size_t(p.weight().count()));
    for (float& v : values) v = float(random.below(draw++, 2001)) * 1e-3f - 1;
    p.weight().copy_from(std::span<const float>(values));
  }
  return model;
}

TEST_CASE("outputs that aren't numbers are no codes", "[pixel_encoder]") {
  const auto model = tiny_model(data::Resize::kExact, 16);
  const Parameter& last = model->parameters.all().back();
  const std::vector<float> nan(std::size_t(last.weight().count()), NAN);
  last.weight().copy_from(std::span<const float>(nan));
  for (const int side : {16, 20}) {  // in place, and through the transform
    data::Image image;
    image.reshape(side, side, 3);
    CHECK_THROWS_WITH(encode_image(*model, image), Catch::Contains("aren't numbers"));
  }
}

TEST_CASE("images that are what the transform gives are read where they lie", "[pixel_encoder]") {
  const int images = 5;
  const std::size_t bytes = 16 * 16 * 3;
  std::vector<std::uint8_t> pixels(images * bytes);
  const Philox random(8, RandomPurpose::kTest);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = std::uint8_t(random.below(i, 256));
  std::vector<PixelView> views;
  for (std::size_t i = 0; i < images; ++i) {
    views.push_back({.pixels = &pixels[i * bytes],
                     .height = 16,
                     .width = 16,
                     .channels = 3,
                     .row_stride = 48,
                     .pixel_stride = 3,
                     .channel_stride = 1});
  }
  const auto model = tiny_model(data::Resize::kNone, 16);
  std::vector<float> in_place(images * 16), copied(images * 16);
  const EncoderOptions options{.batch = 2, .workers = 0};
  const PixelCopies first = encode_pixels(*model, views, options, in_place);
  CHECK(first.in_place == 5);
  CHECK(first.copied == 0);
  // The same in another order, so that they are no array; then each stands where it did.
  std::reverse(views.begin(), views.end());
  const PixelCopies second = encode_pixels(*model, views, options, copied);
  CHECK(second.in_place == 0);
  CHECK(second.copied == 5);
  for (std::size_t i = 0; i < images; ++i) {
    for (std::size_t b = 0; b < 16; ++b) {
      // Batches differ, and with them the order of sums within products.
      CHECK(in_place[i * 16 + b] == Approx(copied[(images - 1 - i) * 16 + b]).margin(1e-5));
    }
  }
  SECTION("those that would be resized are copied") {
    const auto resizing = tiny_model(data::Resize::kShorterSide, 18);
    CHECK(encode_pixels(*resizing, views, options, copied).copied == 5);
    const auto exact = tiny_model(data::Resize::kExact, 16);
    std::reverse(views.begin(), views.end());
    CHECK(encode_pixels(*exact, views, options, copied).in_place == 5);
    views[2].channel_stride = 0;
    CHECK(encode_pixels(*exact, views, options, copied).copied == 5);
  }
}

TEST_CASE("a decoded image has the code of its pixels, shrunk where it doesn't fit",
          "[pixel_encoder]") {
  const auto model = tiny_model(data::Resize::kNone, 16);
  const int side = GENERATE(16, 50);
  data::Image image;
  image.reshape(side, side, 3);
  const Philox random(9, RandomPurpose::kTest);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = std::uint8_t(random.below(i, 256));
  }
  const std::vector<float> code = encode_image(*model, image);
  data::Image fitting = image;
  if (side > 16) fitting = data::resize_bilinear(image, 16, 16);
  const Tensor input = patch_rows(model->network, fitting.pixels,
                                  pixel_statistics(model->info.transform), DType::f32, kCpu);
  CHECK(code == model->network.forward(input).code.to_host<float>());
}

TEST_CASE("the transform's pixels have the code of their image", "[pixel_encoder]") {
  const auto model = tiny_model(data::Resize::kShorterSide, 18);
  data::Image image;
  image.reshape(21, 30, 3);
  const Philox random(10, RandomPurpose::kTest);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = std::uint8_t(random.below(i, 256));
  }
  const PixelView view{.pixels = image.pixels.data(),
                       .height = 21,
                       .width = 30,
                       .channels = 3,
                       .row_stride = 90,
                       .pixel_stride = 3,
                       .channel_stride = 1};
  std::vector<std::uint8_t> pixels(16 * 16 * 3, 77);
  transform_pixels(*model, {&view, 1}, pixels);
  const Tensor input =
      patch_rows(model->network, pixels, pixel_statistics(model->info.transform), DType::f32, kCpu);
  CHECK(encode_image(*model, image) == model->network.forward(input).code.to_host<float>());
}

}  // namespace
}  // namespace hh::pipeline
