// SPDX-License-Identifier: Apache-2.0
#include "bench/support/options.h"

#include <catch2/catch.hpp>
#include <stdexcept>

namespace hh::bench {
namespace {

using Catch::Contains;
using Words = std::vector<std::string>;

TEST_CASE("options are read in any order", "[bench]") {
  const Options o =
      parse_options(Words{"--cold", "--B", "4", "--filter", "^add/", "--dtype", "f32,bf16",
                          "--preset", "micro", "--device", "cpu,cuda:1", "--min-time", "0.5", "--T",
                          "16777216", "--threads", "2", "--json", "a.jsonl"});
  CHECK(o.cold);
  CHECK(o.extents == std::map<char, int>{{'B', 4}, {'T', 16777216}});
  CHECK(o.filter == "^add/");
  CHECK(o.dtypes == Words{"f32", "bf16"});
  CHECK(o.preset == "micro");
  CHECK(o.devices == Words{"cpu", "cuda:1"});
  CHECK(o.min_time == 0.5);
  CHECK(o.threads == 2);
  CHECK(o.json == "a.jsonl");
  CHECK(parse_options(Words{"--cold", "--warm"}).cold == false);
}

TEST_CASE("an option that can't be meant is refused with its value", "[bench]") {
  const auto [words, said] = GENERATE(table<Words, std::string>({
      {{"--colour", "red"}, "--colour: unknown option"},
      {{"filter"}, "filter: unknown option"},
      {{"--b", "4"}, "--b: unknown option"},
      {{"--B"}, "--B: a value must follow"},
      {{"--B", "0"}, "--B 0: must be a whole number from 1 to 16777216"},
      {{"--B", "16777217"}, "--B 16777217: must be"},
      {{"--B", "4x"}, "--B 4x: must be"},
      {{"--B", "-1"}, "--B -1: must be"},
      {{"--B", ""}, "--B : must be"},
      {{"--B", "99999999999999999999"}, "must be a whole number"},
      {{"--filter", "("}, "--filter (: not a regular expression"},
      {{"--preset", "large"}, "--preset large: must be one of micro, paper, all"},
      {{"--dtype", "f32,f64"}, "--dtype f64: must be one of f32, bf16, f16"},
      {{"--dtype", ""}, "names no type"},
      {{"--device", ""}, "names no device"},
      {{"--min-time", "nan"}, "--min-time nan: must be 0 to 60 seconds"},
      {{"--min-time", "61"}, "--min-time 61"},
      {{"--min-time", "1s"}, "--min-time 1s"},
      {{"--threads", "1025"}, "--threads 1025: at most 1024"},
      {{"--estimate", "b200"}, "--estimate b200: must be one of h100, h200, a100, rtx4090"},
      {{"--estimate", "h100", "--device", "cuda"}, "--estimate: takes no --device"},
      {{"--estimate", "h100", "--cold"}, "--estimate: takes no --cold"},
      {{"--estimate", "h100", "--min-time", "1"}, "--estimate: takes no --min-time"},
  }));
  CHECK_THROWS_WITH(parse_options(words), Contains(said));
  CHECK_THROWS_AS(parse_options(words), std::invalid_argument);
}

TEST_CASE("a case is chosen by its name and its type", "[bench]") {
  const auto chosen = [](const std::string& name, const std::string& filter, const Words& types) {
    return matches(name, std::regex(filter), types);
  };
  CHECK(chosen("add/bf16/100", "^add", {}));
  CHECK_FALSE(chosen("add/bf16/100", "^dd", {}));
  CHECK(chosen("add/bf16/100", ".", {"f32", "bf16"}));
  CHECK_FALSE(chosen("add/bf16/100", ".", {"f16"}));
  CHECK(chosen("cast/f32_bf16/100", ".", {"bf16"}));
  CHECK_FALSE(chosen("cast/f32_bf16/100", ".", {"f16"}));
  CHECK(chosen("pack_codes/64b/100", ".", {"f16"}));
  CHECK(type_of("cast/f32_bf16/100") == "f32_bf16");
  CHECK(type_of("rmsprop_update/bf16_copy/100") == "bf16_copy");
  CHECK(type_of("pack_codes/64b/100").empty());
}

TEST_CASE("peers are for GPUs", "[bench]") {
  const std::vector<std::string> alone{"--peers"}, gpu{"--peers", "--device", "cuda"},
      estimate{"--peers", "--estimate", "a100"};
  CHECK_THROWS_WITH(parse_options(alone), Catch::Contains("needs --device cuda or --estimate"));
  CHECK_THROWS_WITH(parse_options(alone, true), Catch::Contains("takes no --peers"));
  CHECK(parse_options(gpu).peers);
  CHECK(parse_options(estimate).peers);
}

}  // namespace
}  // namespace hh::bench
