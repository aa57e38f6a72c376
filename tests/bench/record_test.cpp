// SPDX-License-Identifier: Apache-2.0
#include "bench/support/record.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace hh::bench {
namespace {

using Catch::Contains;

const Record kRecord{.name = "add/f32/1000",
                     .device = "cpu",
                     .bytes = 12000,
                     .flops = 1000,
                     .us = {1, 2, 3, 4, 10},
                     .rounds = {{1, 20, 30}, {2, 21, 31}},
                     .copy_us = 1.5,
                     .copy_gb_s = 4,
                     .gemm_tflop_s = 0.25,
                     .gemm = "bf16",
                     .about = {{"cpu", "a <fast> one"}, {"date", "2026-11-30T12:00:00Z"}}};

TEST_CASE("figures follow from the samples and the declared work", "[bench]") {
  CHECK(kRecord.median() == 3);
  CHECK(kRecord.percentile(0) == 1);
  CHECK(kRecord.percentile(1) == 10);
  CHECK(kRecord.fast() == 2);          // the second fastest round
  CHECK(kRecord.gb_s() == Approx(4));  // 12000 bytes in 3 us
  CHECK(kRecord.tflop_s() == Approx(1e3 / 3 / 1e6));
  CHECK(kRecord.intensity() == Approx(1.0 / 12));
  CHECK(kRecord.memory_share() == Approx(0.5));  // the copy took 1.5 us
  CHECK(kRecord.compute_share() == Approx(1e-3 / 3 / 0.25));
}

TEST_CASE("the verdict names the nearer limit", "[bench]") {
  // A copy of 12000 bytes in 1.5 us is 8 GB/s, twice that of a large array: from a cache.
  Record r = kRecord;
  CHECK(r.verdict() == "cache-bound");
  r.copy_gb_s = 8;
  CHECK(r.verdict() == "memory-bound");
  r.us = {7, 7, 7};
  CHECK(r.verdict() == "latency-bound");  // 21 % of the copy, and a short call
  r.us = {700, 700, 700};
  CHECK(r.verdict() == "instruction-bound");
  r.us = {7, 7, 7};
  r.flops = 7e5;  // 0.1 TFLOP/s of 0.25
  CHECK(r.verdict() == "compute-bound");
}

TEST_CASE("records come back from their lines of JSON", "[bench]") {
  Record gpu = kRecord;
  gpu.device = "cuda:0";
  gpu.cold = true;
  gpu.name = "odd \"name\" \\ of\nlines";
  const std::string text = to_json(kRecord) + "\n\n" + to_json(gpu) + "\n";
  const auto back = parse_records(text, "run.jsonl");
  REQUIRE(back.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    const Record& wanted = i == 0 ? kRecord : gpu;
    CHECK(back[i].name == wanted.name);
    CHECK(back[i].device == wanted.device);
    CHECK(back[i].bytes == wanted.bytes);
    CHECK(back[i].flops == wanted.flops);
    CHECK(back[i].us == wanted.us);
    REQUIRE(back[i].rounds.size() == wanted.rounds.size());
    for (std::size_t j = 0; j < wanted.rounds.size(); ++j) {
      CHECK(back[i].rounds[j].us == wanted.rounds[j].us);
      CHECK(back[i].rounds[j].product_us == wanted.rounds[j].product_us);
      CHECK(back[i].rounds[j].copy_us == wanted.rounds[j].copy_us);
    }
    CHECK(back[i].copy_us == wanted.copy_us);
    CHECK(back[i].copy_gb_s == wanted.copy_gb_s);
    CHECK(back[i].gemm_tflop_s == wanted.gemm_tflop_s);
    CHECK(back[i].gemm == wanted.gemm);
    CHECK(back[i].cold == wanted.cold);
    CHECK(back[i].about == wanted.about);
  }
}

TEST_CASE("a line that is no record is named", "[bench]") {
  const std::string good = to_json(kRecord) + "\n";
  const auto changed = [&](const char* key, const nlohmann::json& value) {
    auto json = nlohmann::json::parse(good);
    if (value.is_null()) {
      json.erase(key);
    } else {
      json[key] = value;
    }
    json["bench"] = "other";
    return good + json.dump() + "\n";
  };
  const auto refused = [](const std::string& text, const std::string& said) {
    CHECK_THROWS_WITH(parse_records(text, "run.jsonl"), Contains(said));
    CHECK_THROWS_AS(parse_records(text, "run.jsonl"), std::invalid_argument);
  };
  refused("", "run.jsonl: holds no record");
  refused(good + "{\"bench\":", "run.jsonl:2: not a record");
  refused(good + "[1]\n", "run.jsonl:2: not a record");
  refused(good + good, "run.jsonl:2: add/f32/1000 is there twice");
  refused(changed("us", nullptr), "run.jsonl:2: not a record");
  refused(changed("caches", "lukewarm"), "run.jsonl:2: caches is lukewarm, neither warm nor cold");
  refused(changed("us", nlohmann::json::array()), "us must hold");
  refused(changed("us", {1.0, 0.0}), "not above 0");
  refused(changed("rounds", nullptr), "run.jsonl:2: not a record");
  refused(changed("rounds", nlohmann::json::array()), "rounds must hold");
  refused(changed("rounds", {{{"us", 0}, {"product_us", 1}, {"copy_us", 1}}}),
          "us is not a possible value");
  refused(changed("bytes", -1), "bytes is not a possible value");
  refused(changed("bytes", "12"), "run.jsonl:2: not a record");
  refused(changed("gemm", "f64"), "gemm is f64");
  CHECK_THROWS_WITH(read_records("/nowhere/run.jsonl"), Contains("/nowhere/run.jsonl"));
}

}  // namespace
}  // namespace hh::bench
