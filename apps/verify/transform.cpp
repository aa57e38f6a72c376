// SPDX-License-Identifier: Apache-2.0
#include "data/images/transform.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/verify/cases.h"
#include "data/images/decode.h"

namespace hh::apps {
namespace {

// (v / 255 - mean) / std in float32 as torch computes it: the same operations in the same order.
constexpr double kNormalisedTolerance = 0;
// JPEG decoders may differ in the inverse transform and in how chroma is enlarged: "a few
// levels" (docs/specification.md, section 8). PNG is exact.
constexpr double kJpegLevels = 3;

data::Image image_of(const SafetensorsFile& file, const std::string& key) {
  const SafetensorsFile::Entry& entry = file.entry(key);
  HH_REQUIRE(entry.dtype == "U8" && entry.shape.size() == 3 && entry.shape[0] <= 65535 &&
                 entry.shape[1] <= 65535 && entry.shape[2] == 3,
             key << ": wanted an 8-bit image [height, width, 3]");
  data::Image image;
  image.reshape(int(entry.shape[0]), int(entry.shape[1]), 3);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(entry.bytes.data());
  image.pixels.assign(bytes, bytes + entry.bytes.size());
  return image;
}

std::vector<float> floats_of(std::span<const std::uint8_t> pixels) {
  return {pixels.begin(), pixels.end()};
}

std::string without_suffix(const std::string& name, const std::string& suffix) {
  return name.substr(0, name.size() - suffix.size());
}

/// One picture through the pipeline: bytes against `expected_key`, then the normalised tensor.
void verify_pipeline(const SafetensorsFile& file, const std::string& name,
                     const std::string& expected_key, data::TransformSpec spec, Report& report) {
  const SafetensorsFile::Entry& expected = file.entry(expected_key);
  HH_REQUIRE(expected.shape.size() == 3 && expected.shape[0] == expected.shape[1],
             expected_key << ": wanted a square image");
  spec.size = int(expected.shape[0]);
  spec.channels = 3;
  data::Image image = image_of(file, name + ".rgb");
  std::vector<std::uint8_t> pixels(std::size_t(spec.size) * std::size_t(spec.size) * 3);
  data::Transformer(spec).run(image, {}, pixels.data());
  report.compare(expected_key, floats_of(pixels), file.to_doubles(expected_key), 0);
  const GoldenTensors golden(file);
  if (golden.contains(name + ".tensor_chw")) {
    golden.compare(name + ".tensor_chw", data::normalise(pixels.data(), spec), kNormalisedTolerance,
                   0, report);
  }
}

/// The size of the resized image before the crop, which the JSON states apart.
void verify_resized_size(const nlohmann::json& entry, const std::string& name, int resize_to,
                         Report& report) {
  const auto in = entry.at("in_hw").get<std::vector<std::int64_t>>();
  const auto resized = entry.at("resized_hw").get<std::vector<std::int64_t>>();
  const std::int64_t shorter = std::min(in.at(0), in.at(1)), longer = std::max(in.at(0), in.at(1));
  const std::int64_t long_side = resize_to * longer / shorter;
  const bool tall = in[0] > in[1];
  report.equal(name + ".resized_hw",
               fmt::format("{} x {}", tall ? long_side : resize_to, tall ? resize_to : long_side),
               fmt::format("{} x {}", resized.at(0), resized.at(1)));
}

}  // namespace

void verify_transform(const GoldenCase& files, const nlohmann::json& json, Report& report) {
  const SafetensorsFile file = SafetensorsFile::open(files.sibling(".safetensors"));
  for (const std::string& key : file.names()) {
    constexpr const char *kCropped = ".resized_cropped_u8", *kResized = ".resized_u8",
                         *kDecoded = "decoded.";
    if (key.ends_with(kCropped)) {
      const std::string name = without_suffix(key, kCropped);
      const auto size = file.entry(key).shape.at(0);
      const data::TransformSpec spec = data::image_eval_transform(int(size));
      verify_pipeline(file, name, key, spec, report);
      if (json.at("cases").contains(name)) {
        verify_resized_size(json.at("cases").at(name), name, spec.resize_to, report);
      }
    } else if (key.ends_with(kResized)) {
      data::TransformSpec spec;
      spec.resize = data::Resize::kExact;
      spec.resize_to = int(file.entry(key).shape.at(0));
      verify_pipeline(file, without_suffix(key, kResized), key, spec, report);
    } else if (key.starts_with(kDecoded)) {
      const std::string name = key.substr(std::string(kDecoded).size());
      const data::Image image =
          data::load_image(files.json_path.parent_path() / "images" / name, {.channels = 3});
      report.compare(key, floats_of(image.pixels), file.to_doubles(key),
                     name.ends_with(".png") ? 0 : kJpegLevels);
    }
  }
}

}  // namespace hh::apps
