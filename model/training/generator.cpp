// SPDX-License-Identifier: Apache-2.0
#include "model/training/generator.h"

#include <cmath>

namespace hh {
namespace {

/// Values in [-1, 1), 24 bits each: the splitmix64 stream of (name, seed).
std::vector<float> unit_stream(const std::string& name, std::int64_t count, std::uint64_t seed) {
  std::uint64_t h = 0xCBF29CE484222325u;
  for (const char c : name) h = (h ^ std::uint8_t(c)) * 0x100000001B3u;
  std::uint64_t state = h + seed * 0xD1B54A32D192ED03u;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) {
    state += 0x9E3779B97F4A7C15u;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    value = 2 * (float(z >> 40) * 0x1p-24f) - 1;
  }
  return values;
}

/// The power of two that scales a weight matrix: 2^-k, k the least with 3 * 4^k >= fan_in.
float matrix_scale(std::int64_t fan_in) {
  int k = 0;
  for (std::int64_t reach = 3; reach < fan_in; reach *= 4) ++k;
  return std::ldexp(1.0f, -k);
}

}  // namespace

std::vector<float> generated_weights(const std::string& name, const Shape& shape,
                                     std::uint64_t seed) {
  std::vector<float> values = unit_stream(name, shape.count(), seed);
  float scale = 1, shift = 0;
  if (name.find("pos_embed") != std::string::npos) {
    scale = 0x1p-4f;
  } else if (name.ends_with(".bias")) {
    scale = 0x1p-5f;
  } else if (shape.axes() == 1) {
    scale = 0x1p-3f;
    shift = 1;
  } else {
    scale = matrix_scale(shape.count() / shape[0]);
  }
  for (float& value : values) value = shift + value * scale;
  return values;
}

std::vector<float> generated_input(std::int64_t count, std::uint64_t seed) {
  std::vector<float> values = unit_stream("input", count, seed);
  for (float& value : values) value *= 2;
  return values;
}

void set_generated_weights(Parameters& parameters, std::uint64_t seed) {
  for (const Parameter& p : parameters.all()) {
    parameters.set(p, generated_weights(p.name(), p.shape(), seed));
  }
  parameters.refresh_compute();
}

}  // namespace hh
