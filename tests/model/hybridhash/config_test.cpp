// SPDX-License-Identifier: Apache-2.0
#include "model/hybridhash/config.h"

#include <catch2/catch.hpp>
#include <functional>
#include <stdexcept>

#include "model/hybridhash/hybridhash.h"

namespace hh {
namespace {

using Catch::Contains;

TEST_CASE("presets are the networks they are named after", "[config]") {
  const auto paper = HybridHashConfig::preset("paper");
  CHECK(paper == HybridHashConfig());
  CHECK(HybridHashConfig::preset("class-default").depths == std::array{2, 2, 20});
  for (const char* name : {"paper", "class-default", "micro"}) {
    CHECK_NOTHROW(HybridHashConfig::preset(name).validate());
  }
  CHECK_THROWS_WITH(HybridHashConfig::preset("large"), Contains("'large'") && Contains("micro"));
  // The paper's 55.6 million parameters at 16 bits.
  HybridHashConfig at16 = paper;
  at16.bits = 16;
  Parameters parameters;
  const HybridHash network(at16, parameters);
  std::int64_t count = 0;
  for (const Parameter& p : parameters.all()) count += p.shape().count();
  CHECK(double(count) == Approx(55.6e6).epsilon(0.001));
}

TEST_CASE("sizes follow from image and patch", "[config]") {
  const HybridHashConfig config;
  CHECK(config.grid() == 56);
  CHECK(config.block_side() == 14);
  CHECK(config.block_tokens() == 196);
  CHECK(HybridHashConfig::blocks_per_side(0) == 4);
  CHECK(HybridHashConfig::blocks_per_side(2) == 1);
  CHECK(config.layers() == 19);
}

TEST_CASE("a config says which field is out of its limits, and the limits", "[config]") {
  const auto refuses = [](const std::function<void(HybridHashConfig&)>& change, const char* what,
                          const char* limit) {
    HybridHashConfig config;
    change(config);
    CHECK_THROWS_AS(config.validate(), std::invalid_argument);
    CHECK_THROWS_WITH(config.validate(), Contains(what) && Contains(limit));
  };
  refuses([](auto& c) { c.patch = 0; }, "patch = 0", "1 to 64");
  refuses([](auto& c) { c.image_size = 230; }, "image_size = 230", "multiple of 4 * patch");
  refuses([](auto& c) { c.image_size = 12; }, "image_size = 12", "multiple of 4 * patch");
  refuses([](auto& c) { c.image_size = 4112; }, "image_size = 4112", "4096");
  refuses([](auto& c) { c.image_size = 1024; }, "4096 tokens", "1024");
  refuses([](auto& c) { c.in_channels = 5; }, "in_channels = 5", "1 to 4");
  refuses([](auto& c) { c.dims[1] = 100; }, "dims[1] = 100", "multiple of 8");
  refuses([](auto& c) { c.dims[2] = 2048; }, "dims[2] = 2048", "1024");
  refuses([](auto& c) { c.heads[0] = 3; }, "heads[0] = 3", "divide dims[0] = 128");
  refuses([](auto& c) { c.heads[2] = 2; }, "heads[2] = 2", "at most 128 wide");
  refuses([](auto& c) { c.depths[1] = 0; }, "depths[1] = 0", "1 to 64");
  refuses([](auto& c) { c.bits = 0; }, "bits = 0", "1 to 512");
  refuses([](auto& c) { c.bits = 513; }, "bits = 513", "1 to 512");
  refuses([](auto& c) { c.drop_path = 1; }, "drop_path = 1", "< 1");
}

TEST_CASE("a config survives its JSON, which is checked when it is read", "[config]") {
  HybridHashConfig config = HybridHashConfig::preset("micro");
  config.drop_path = 0.25f;
  CHECK(config_from_json(to_json(config)) == config);
  CHECK_THROWS_WITH(config_from_json("{"), Contains("model config"));
  CHECK_THROWS_WITH(config_from_json("{}"), Contains("image_size"));
  std::string text = to_json(config);
  text.replace(text.find("\"bits\":32"), 9, "\"bits\":-1");
  CHECK_THROWS_WITH(config_from_json(text), Contains("bits = -1"));
  text.replace(text.find("-1"), 2, "\"many\"");
  CHECK_THROWS_AS(config_from_json(text), std::invalid_argument);
}

}  // namespace
}  // namespace hh
