// SPDX-License-Identifier: Apache-2.0
#include "model/hybridhash/config.h"

#include <nlohmann/json.hpp>

#include "engine/text/json_error.h"
#include "engine/text/json_text.h"
#include "kernels/core/check.h"

namespace hh {

void HybridHashConfig::validate() const {
  HH_REQUIRE(patch >= 1 && patch <= 64, "patch = " << patch << ": use 1 to 64");
  HH_REQUIRE(image_size >= 4 * patch && image_size <= 4096 && image_size % (4 * patch) == 0,
             "image_size = " << image_size << " with patch = " << patch
                             << ": use a multiple of 4 * patch, at most 4096");
  HH_REQUIRE(block_tokens() <= 1024, "blocks of " << block_tokens()
                                                  << " tokens: attention takes at most 1024; use a "
                                                     "larger patch or smaller images");
  HH_REQUIRE(in_channels >= 1 && in_channels <= 4,
             "in_channels = " << in_channels << ": use 1 to 4");
  for (int l = 0; l < kLevels; ++l) {
    const int dim = dims[std::size_t(l)], head = heads[std::size_t(l)];
    HH_REQUIRE(dim >= 8 && dim <= 1024 && dim % kInteractionHeads == 0,
               "dims[" << l << "] = " << dim << ": use a multiple of 8 from 8 to 1024");
    HH_REQUIRE(head >= 1 && dim % head == 0 && dim / head <= 128,
               "heads[" << l << "] = " << head << ": it must divide dims[" << l << "] = " << dim
                        << " into heads at most 128 wide");
    HH_REQUIRE(depths[std::size_t(l)] >= 1 && depths[std::size_t(l)] <= 64,
               "depths[" << l << "] = " << depths[std::size_t(l)] << ": use 1 to 64");
  }
  HH_REQUIRE(bits >= 1 && bits <= 512, "bits = " << bits << ": use 1 to 512");
  HH_REQUIRE(drop_path >= 0 && drop_path < 1, "drop_path = " << drop_path << ": use 0 to < 1");
}

HybridHashConfig HybridHashConfig::preset(const std::string& name) {
  if (name == "paper") return {};
  if (name == "class-default") return {.depths = {2, 2, 20}};
  if (name == "micro") {
    return {.image_size = 32,
            .patch = 2,
            .in_channels = 3,
            .dims = {32, 64, 128},
            .heads = {1, 2, 4},
            .depths = {1, 1, 2},
            .bits = 32,
            .drop_path = 0};
  }
  throw std::invalid_argument("model preset '" + name + "': use paper, class-default or micro");
}

std::string to_json(const HybridHashConfig& c) {
  return json_text(nlohmann::ordered_json{{"image_size", c.image_size},
                                          {"patch", c.patch},
                                          {"in_channels", c.in_channels},
                                          {"dims", c.dims},
                                          {"heads", c.heads},
                                          {"depths", c.depths},
                                          {"bits", c.bits},
                                          {"drop_path", c.drop_path}});
}

HybridHashConfig config_from_json(const std::string& text) {
  HybridHashConfig c;
  try {
    const auto json = parse_json(text);
    json.at("image_size").get_to(c.image_size);
    json.at("patch").get_to(c.patch);
    json.at("in_channels").get_to(c.in_channels);
    json.at("dims").get_to(c.dims);
    json.at("heads").get_to(c.heads);
    json.at("depths").get_to(c.depths);
    json.at("bits").get_to(c.bits);
    json.at("drop_path").get_to(c.drop_path);
  } catch (const nlohmann::json::exception& error) {
    throw std::invalid_argument(std::string("model config: ") + json_error_text(error));
  }
  c.validate();
  return c;
}

}  // namespace hh
