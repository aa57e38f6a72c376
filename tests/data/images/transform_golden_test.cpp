// SPDX-License-Identifier: Apache-2.0
// Against torchvision and Pillow: tests/goldens/transform.safetensors (docs/specification.md,
// section 8).
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "data/images/decode.h"
#include "data/images/transform.h"
#include "engine/files/safetensors.h"
#include "tests/support/goldens.h"

namespace hh::data {
namespace {

using testing::goldens_dir;

const SafetensorsFile& goldens() {
  static const SafetensorsFile file =
      SafetensorsFile::open(goldens_dir() / "transform.safetensors");
  return file;
}

/// A golden of shape [height, width, 3], u8.
Image golden_image(const std::string& name) {
  const auto& entry = goldens().entry(name);
  REQUIRE(entry.dtype == "U8");
  REQUIRE(entry.shape.size() == 3);
  Image image;
  image.reshape(int(entry.shape[0]), int(entry.shape[1]), int(entry.shape[2]));
  REQUIRE(entry.bytes.size() == image.pixels.size());
  std::transform(entry.bytes.begin(), entry.bytes.end(), image.pixels.begin(),
                 [](std::byte b) { return std::uint8_t(b); });
  return image;
}

/// How often each |difference| occurs.
std::vector<int> differences(const Image& a, const Image& b) {
  REQUIRE(a.height == b.height);
  REQUIRE(a.width == b.width);
  REQUIRE(a.channels == b.channels);
  std::vector<int> count(256, 0);
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    ++count[std::size_t(std::abs(int(a.pixels[i]) - int(b.pixels[i])))];
  }
  return count;
}

/// The golden pipeline's pixels must be equal, and its normalised values too, bit for bit.
void check_case(const std::string& name, const std::string& wanted, const TransformSpec& spec) {
  INFO(name);
  Image image = golden_image(name + ".rgb");
  Image out;
  out.reshape(spec.size, spec.size, spec.channels);
  std::fill(out.pixels.begin(), out.pixels.end(), std::uint8_t{0xa5});
  Transformer(spec).run(image, {}, out.pixels.data());
  REQUIRE(out.pixels == golden_image(wanted).pixels);

  const auto values = normalise(out.pixels.data(), spec);
  const std::string tensor = name + ".tensor_chw";
  const auto first = goldens().to_floats("first." + tensor);
  REQUIRE(!first.empty());
  REQUIRE(std::equal(first.begin(), first.end(), values.begin()));
  const auto strided = goldens().to_floats("strided." + tensor);
  const std::size_t step = std::max<std::size_t>(1, values.size() / strided.size());
  REQUIRE(!strided.empty());
  for (std::size_t i = 0; i < strided.size(); ++i) REQUIRE(strided[i] == values[i * step]);
}

TEST_CASE("resize and centre crop give torchvision's bits", "[data][golden]") {
  for (const std::string name : {"land", "port", "square", "small", "odd", "tall"}) {
    check_case(name, name + ".resized_cropped_u8", image_eval_transform(224));
  }
}

TEST_CASE("the CIFAR enlargement gives torchvision's bits", "[data][golden]") {
  TransformSpec spec;
  spec.resize = Resize::kExact;
  spec.resize_to = spec.size = 224;
  check_case("cifar", "cifar.resized_u8", spec);
}

TEST_CASE("PNG files decode to Pillow's bytes", "[data][golden]") {
  for (const std::string file : {"rgb.png", "rgba.png", "palette.png"}) {
    INFO(file);
    const Image image = load_image(goldens_dir() / "images" / file);
    REQUIRE(image.pixels == golden_image("decoded." + file).pixels);
  }
}

// Equal, not close: Pillow and Debian both decode by libjpeg-turbo, with its exact integer IDCT and
// smooth chroma upsampling as defaults, whose results don't depend on version or instruction set.
TEST_CASE("JPEG files decode to Pillow's pixels", "[data][golden]") {
  for (const std::string file : {"rgb420.jpg", "rgb444.jpg", "gray.jpg", "progressive.jpg"}) {
    const Image image = load_image(goldens_dir() / "images" / file);
    const auto count = differences(image, golden_image("decoded." + file));
    int worst = 255;
    while (worst > 0 && count[std::size_t(worst)] == 0) --worst;
    INFO(file << ": " << image.pixels.size() - std::size_t(count[0]) << " of "
              << image.pixels.size() << " bytes differ, by at most " << worst);
    CHECK(worst == 0);
  }
}

}  // namespace
}  // namespace hh::data
