// SPDX-License-Identifier: Apache-2.0
// A made-up data set, a folder per class, and a recipe that trains on it in seconds.
#pragma once
#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "kernels/core/philox.h"

namespace hh::testing {

inline constexpr std::array kTinyClasses{"blue", "green", "red"};
inline constexpr int kTinyPerClass = 20, kTinySide = 16;

/// Images of one colour each with noise, as PPM files.
inline void make_tiny_images(const std::filesystem::path& folder) {
  const Philox random(1, RandomPurpose::kTest);
  std::uint64_t draw = 0;
  for (std::size_t c = 0; c < kTinyClasses.size(); ++c) {
    std::filesystem::create_directories(folder / kTinyClasses[c]);
    for (int i = 0; i < kTinyPerClass; ++i) {
      const auto name = std::to_string(100 + i) + ".ppm";
      std::ofstream file(folder / kTinyClasses[c] / name, std::ios::binary);
      file << "P6\n" << kTinySide << " " << kTinySide << "\n255\n";
      for (int p = 0; p < kTinySide * kTinySide * 3; ++p) {
        const bool lit = std::size_t(p % 3) == 2 - c;
        file.put(char((lit ? 140 : 60) + random.below(draw++, 100)));
      }
    }
  }
}

/// 4 query and 16 training images a class; the network is as small as it gets.
inline std::string tiny_recipe(const std::filesystem::path& images) {
  return "[data]\nprotocol = \"folder\"\npath = \"" + images.string() +
         "\"\nquery_per_class = 4\nworkers = 2\n"
         "[model]\nimage_size = 16\npatch = 2\ndims = [8, 16, 16]\nheads = [1, 2, 2]\n"
         "depths = [1, 1, 1]\nbits = 16\ndrop_path = 0.2\n"
         "[train]\nseed = 3\nepochs = 4\nbatch = 5\naccumulate = 2\nbank_dtype = \"f16\"\n"
         "initialisation = \"fan_in\"\nthreads = 1\n"
         "[optimizer]\nkind = \"adamw\"\n"
         "[schedule]\nkind = \"cosine\"\nlearning_rate = 2e-3\nwarmup_epochs = 1\n"
         "[evaluate]\nevery = 2\nhold_out = 6\nby_query = true\n";
}

}  // namespace hh::testing
