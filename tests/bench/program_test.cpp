// SPDX-License-Identifier: Apache-2.0
// hh_bench as a user runs it.
#define HH_PROGRAM "hh_bench"
#include "tests/apps/program.h"

#include <catch2/catch.hpp>

#include "bench/support/record.h"
#include "tests/support/temporary_folder.h"

namespace hh::testing {
namespace {

using Catch::Contains;

TEST_CASE("run writes what it prints, and compare and plot read it", "[bench]") {
  const TemporaryFolder folder;
  const std::string json = (folder / "run.jsonl").string(), svg = (folder / "roof.svg").string();
  const Outcome run =
      run_program(folder.path(), {"run", "--preset", "micro", "--filter",
                                  "^(linear_forward/f32|add/bf16)", "--T", "64", "--N", "1024",
                                  "--min-time", "0", "--threads", "1", "--warm", "--json", json});
  CAPTURE(run.err);
  REQUIRE(run.status == 0);
  const auto records = bench::read_records(json);
  REQUIRE(records.size() >= 3);
  for (const auto& r : records) {
    CHECK_THAT(run.out, Contains(r.name + " "));
    CHECK(r.us.size() >= 24);
    REQUIRE(r.rounds.size() == 12);
    for (const auto& round : r.rounds) {
      CHECK(round.us >= r.us.front());
      CHECK(round.us <= r.us.back());
      CHECK(round.product_us > 0);
      CHECK(round.copy_us > 0);
    }
    CHECK(r.copy_us > 0);
    CHECK(r.gemm_tflop_s > 0);
  }
  const Outcome same = run_program(folder.path(), {"compare", json, json, "--fail-on-regression"});
  CHECK(same.status == 0);
  CHECK_THAT(same.out, Contains(": 0 faster, 0 slower, " + std::to_string(records.size()) +
                                " without a change"));
  REQUIRE(run_program(folder.path(), {"plot", json, "--out", svg}).status == 0);
  CHECK_THAT(read_text(svg), Contains("<svg") && Contains("linear_forward/f32/64x32-&gt;96"));
}

TEST_CASE("compare finds a regression and can fail because of it", "[bench]") {
  const TemporaryFolder folder;
  bench::Record before{.name = "add/f32/8", .device = "cpu", .bytes = 1}, after = before;
  for (int i = 0; i < 12; ++i) {
    before.us.push_back(100 + i / 10.0);
    after.us.push_back(120 + i / 10.0);
    before.rounds.push_back({before.us.back()});
    after.rounds.push_back({after.us.back()});
  }
  const std::string a = (folder / "a").string(), b = (folder / "b").string();
  write_text(a, to_json(before) + "\n");
  write_text(b, to_json(after) + "\n");
  const Outcome said = run_program(folder.path(), {"compare", a, b});
  CHECK(said.status == 0);
  CHECK_THAT(said.out, Contains("1.200") && Contains("1 slower"));
  CHECK(run_program(folder.path(), {"compare", a, b, "--fail-on-regression"}).status == 1);
  CHECK(run_program(folder.path(), {"compare", b, a, "--fail-on-regression"}).status == 0);
  after.cold = true;
  write_text(b, to_json(after) + "\n");
  const Outcome mixed = run_program(folder.path(), {"compare", a, b});
  CHECK(mixed.status == 2);
  CHECK_THAT(mixed.err, Contains("add/f32/8 was timed with warm caches in one file and cold ones"));
}

TEST_CASE("list names what run would time", "[bench]") {
  const TemporaryFolder folder;
  const auto list = [&](std::vector<std::string> words) {
    words.insert(words.begin(), "list");
    return run_program(folder.path(), words);
  };
  const Outcome both = list({"--filter", "^window_attention_forward"});
  REQUIRE(both.status == 0);
  const Outcome micro = list({"--filter", "^window_attention_forward", "--preset", "micro"});
  CHECK(micro.out.size() < both.out.size());
  CHECK_THAT(both.out, Contains(micro.out));
  CHECK_THAT(list({"--filter", "^window_attention_forward/f32", "--B", "3"}).out,
             Contains("window_attention_forward/f32/3x16x1x32\n") && !Contains("/1024x"));
}

TEST_CASE("mistakes end in one line and status 2", "[bench]") {
  const TemporaryFolder folder;
  const auto [words, said] = GENERATE(table<std::vector<std::string>, std::string>({
      {{"measure"}, "measure: unknown command"},
      {{"run", "--filter", "("}, "not a regular expression"},
      {{"run", "--filter", "^nothing$"}, "no case matches"},
      {{"run", "--device", "gpu"}, "device 'gpu'"},
      {{"list", "--device", "cuda"}, "list: takes no --device"},
      {{"list", "--json", "a"}, "list: takes no --json"},
      {{"compare", "a"}, "compare: takes two files"},
      {{"compare", "/nowhere", "/nowhere"}, "/nowhere"},
      {{"plot", "/nowhere", "--out", "a.svg"}, "/nowhere"},
  }));
  const Outcome o = run_program(folder.path(), words);
  CHECK(o.status == 2);
  CHECK_THAT(o.err, Catch::StartsWith("hh_bench: ") && Contains(said));
  CHECK(std::count(o.err.begin(), o.err.end(), '\n') == 1);
}

}  // namespace
}  // namespace hh::testing
