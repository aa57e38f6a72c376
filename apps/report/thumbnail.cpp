// SPDX-License-Identifier: Apache-2.0
#include "apps/report/thumbnail.h"

#include <algorithm>
#include <charconv>

#include "data/experiments/protocol.h"
#include "data/images/resize.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image_write.h>

namespace hh::apps {
namespace {

constexpr int kSmall = 64;  // up to this side pixels are kept as they are
constexpr int kJpegQuality = 85;

void append(void* text, void* bytes, int size) {
  static_cast<std::string*>(text)->append(static_cast<const char*>(bytes), std::size_t(size));
}

}  // namespace

std::string base64(const std::string& bytes) {
  constexpr const char* kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    }
    for (int j = 0; j < 4; ++j) text += kDigits[group >> (18 - 6 * j) & 63];
  }
  const std::size_t missing = (3 - bytes.size() % 3) % 3;
  text.replace(text.size() - missing, missing, std::string(missing, '='));
  return text;
}

Thumbnail encode_thumbnail(data::Image image, int side) {
  const int longer = std::max(image.height, image.width);
  if (longer > side) {
    const auto scaled = [&](int extent) {
      return std::max(1, int(std::int64_t{extent} * side / longer));
    };
    image = data::resize_bilinear(image, scaled(image.height), scaled(image.width));
  }
  std::string bytes;
  const bool small = std::max(image.height, image.width) <= kSmall;
  if (small) {
    stbi_write_png_to_func(append, &bytes, image.width, image.height, image.channels,
                           image.pixels.data(), image.width * image.channels);
  } else {
    stbi_write_jpg_to_func(append, &bytes, image.width, image.height, image.channels,
                           image.pixels.data(), kJpegQuality);
  }
  return {std::move(bytes), small ? "image/png" : "image/jpeg", image.width, image.height};
}

std::string Thumbnail::uri() const {
  return std::string("data:") + type + ";base64," + base64(bytes);
}

Thumbnails::Thumbnails(const ThumbnailSource& source) : source_(source) {
  if (source.protocol.empty()) return;
  dataset_ = data::open_protocol(source.protocol, {.data = source.data,
                                                   .image_root = source.image_root,
                                                   .allow_other_counts = true,
                                                   .exif_orientation = source.exif_orientation,
                                                   .max_pixels = source.max_pixels})
                 .dataset;
}

bool Thumbnails::from_dataset(const std::string& name, data::Image& image) {
  const std::size_t mark = name.rfind('#');
  if (mark == std::string::npos) return false;
  std::int64_t index = 0;
  const auto [end, error] =
      std::from_chars(name.data() + mark + 1, name.data() + name.size(), index);
  if (error != std::errc() || end != name.data() + name.size()) return false;
  const auto dataset = dataset_for(name);
  if (!dataset || index < 0 || index >= dataset->size() || dataset->name(index) != name) {
    return false;
  }
  dataset->load(index, image);
  return true;
}

std::shared_ptr<const data::Dataset> Thumbnails::dataset_for(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (!dataset_ && !looked_for_fashion_ && name.starts_with("fashion-mnist#")) {
    looked_for_fashion_ = true;
    dataset_ = data::open_protocol("fashion_mnist", {.data = source_.data}).dataset;
  }
  return dataset_;
}

Thumbnail Thumbnails::of(const std::string& name, int side) {
  if (name.empty()) return {};
  if (side == 0) side = source_.side;
  try {
    data::Image image;
    if (!from_dataset(name, image)) {
      auto path = std::filesystem::path(source_.image_root) / name;
      std::error_code ignored;
      if (!std::filesystem::exists(path, ignored)) {
        path = std::filesystem::path(source_.other_root) / name;
      }
      image = data::load_image(path, {.exif_orientation = source_.exif_orientation,
                                      .scaled_shorter_side = side,
                                      .max_pixels = source_.max_pixels});
    }
    return encode_thumbnail(std::move(image), side);
  } catch (const std::runtime_error&) {  // no such file or data set, or nothing that decodes
    return {};
  }
}

}  // namespace hh::apps
