// SPDX-License-Identifier: Apache-2.0
// The optimiser's step alone against the reference: from its weights and its gradients to its
// weights after one step.
#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/files/safetensors.h"
#include "kernels/optimizer/optimizer_update.h"
#include "model/hybridhash/hybridhash.h"
#include "model/training/generator.h"
#include "tests/support/device.h"
#include "tests/support/goldens.h"
#include "tests/support/values.h"

namespace hh {
namespace {

/// The elements of a tensor that a case stores, by their place: all of them, or samples
/// (docs/specification.md, section 8). Empty if the case has no such tensor.
std::map<std::size_t, float> stored(const SafetensorsFile& file, const std::string& key,
                                    std::size_t count) {
  std::map<std::size_t, float> elements;
  const auto take = [&](const std::string& name, std::size_t step) {
    if (!file.contains(name)) return;
    const std::vector<float> values = file.to_floats(name);
    for (std::size_t i = 0; i < values.size(); ++i) elements[i * step] = values[i];
  };
  take(key, 1);
  take("first." + key, 1);
  take("strided." + key, std::max<std::size_t>(1, count / 64));
  return elements;
}

TEST_CASE("rmsprop_update makes the reference's first step", "[optimizer][goldens]") {
  int tensors = 0;
  testing::Worst worst;
  for (const std::filesystem::path& json_path : testing::golden_cases("micro_")) {
    CAPTURE(json_path);
    std::ifstream text(json_path);
    const auto config = nlohmann::json::parse(text).at("config");
    const auto golden =
        SafetensorsFile::open(std::filesystem::path(json_path).replace_extension("safetensors"));
    Parameters parameters;
    const HybridHash network({.image_size = config.at("size"),
                              .patch = config.at("patch"),
                              .in_channels = config.at("in_chans"),
                              .dims = config.at("dims"),
                              .heads = config.at("heads"),
                              .depths = config.at("depths"),
                              .bits = config.at("bits")},
                             parameters);
    for (const Parameter& p : parameters.all()) {
      const std::vector<float> weights =
          generated_weights(p.name(), p.shape(), config.at("seed").get<std::uint64_t>());
      const auto gradients = stored(golden, "grad." + p.name(), weights.size());
      std::vector<float> weight, gradient, want;
      for (const auto& [i, after] : stored(golden, "step1." + p.name(), weights.size())) {
        if (!gradients.contains(i)) continue;
        weight.push_back(weights.at(i));
        gradient.push_back(gradients.at(i));
        want.push_back(after);
      }
      std::vector<float> square(weight.size());
      const OptimizerSegment all{.begin = 0,
                                 .count = std::int64_t(weight.size()),
                                 .weight_decay = config.at("wd").get<float>()};
      testing::run(kCpu, RmspropUpdate{.arrays = {.weight = weight.data(),
                                                  .gradient = gradient.data(),
                                                  .segments = &all,
                                                  .segment_count = 1,
                                                  .learning_rate = config.at("lr").get<float>()},
                                       .square = square.data()});
      // Both weights, of at most 1.13, were rounded; the step of 10 lr is good to some 1e-6 of it,
      // unless the gradient all but cancels with the decay.
      for (std::size_t i = 0; i < weight.size(); ++i) {
        worst.see(weight[i] - want[i], 2 * testing::unit<float>() * 1.13 + 1e-8, i);
      }
      tensors += !weight.empty();
    }
  }
  // 83 of micro_e, three layers of 12 more of micro_c; FcLayer takes no part.
  REQUIRE(tensors >= 83 + 83 + 36);
  REQUIRE(worst.ratio <= 1);
}

}  // namespace
}  // namespace hh
