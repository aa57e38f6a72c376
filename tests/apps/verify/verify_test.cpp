// SPDX-License-Identifier: Apache-2.0
// verify: exit status and table, on cases made here and on changed copies of the goldens.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "engine/files/safetensors.h"
#include "tests/apps/program.h"
#include "tests/support/goldens.h"
#include "tests/support/temporary_folder.h"

namespace hh {
namespace {

using Catch::Contains;
using testing::Outcome, testing::run_program;

/// A transform case: an image of one colour, which stays that colour.
void write_flat_case(const std::filesystem::path& folder, std::uint8_t expected) {
  const std::vector<std::uint8_t> image(20 * 30 * 3, 77), cropped(224 * 224 * 3, expected);
  write_safetensors(
      folder / "flat.safetensors",
      {{"grey.rgb", "U8", {20, 30, 3}, std::as_bytes(std::span(image))},
       {"grey.resized_cropped_u8", "U8", {224, 224, 3}, std::as_bytes(std::span(cropped))}},
      {});
  testing::write_text(
      folder / "flat.json",
      R"({"cases": {"grey": {"in_hw": [20, 30], "resized_hw": [256, 384]}}, "files": {}})");
}

TEST_CASE("verify says yes and no by its exit status", "[verify]") {
  const testing::TemporaryFolder folder;
  const std::string json = (folder / "flat.json").string(), out = (folder / "out.json").string();
  write_flat_case(folder.path(), 77);
  const Outcome good =
      run_program(folder.path(), {"verify", json, "--json", out, "--device", "cpu"});
  INFO(good.err);
  CHECK(good.status == 0);
  CHECK_THAT(good.out, Contains("grey.resized_cropped_u8") && Contains("2 of 2 checks passed"));
  CHECK(nlohmann::json::parse(testing::read_text(out)).at("passed") == true);

  write_flat_case(folder.path(), 78);
  const Outcome bad =
      run_program(folder.path(), {"verify", json, "--json", out, "--failures", "--device", "cpu"});
  CHECK(bad.status == 1);
  CHECK(bad.err.empty());
  CHECK_THAT(bad.out, Contains("FAIL") && Contains("1 of 2 checks passed"));
  const auto report = nlohmann::json::parse(testing::read_text(out));
  CHECK(report.at("passed") == false);
  CHECK(report.at("checks").size() == 2);
}

TEST_CASE("verify refuses what isn't a case", "[verify]") {
  const testing::TemporaryFolder folder;
  const auto refused = [&](const std::string& text, const std::string& reason) {
    testing::write_text(folder / "case.json", text);
    const Outcome outcome =
        run_program(folder.path(), {"verify", (folder / "case.json").string(), "--device", "cpu"});
    CAPTURE(text, outcome.err);
    CHECK(outcome.status == 2);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CHECK_THAT(outcome.err, Contains(reason));
  };
  refused("", "case.json");
  refused("{", "case.json");
  refused("[1, 2]", "none of the known kinds");
  refused("{\"a\": 1}", "none of the known kinds");
  refused("{\"cases\": {}}", "case.safetensors");
  refused("{\"config\": {\"size\": 32}}", "case");
  refused("{\"config\": 3}", "case.json");
}

/// A golden file's tensors with one value changed.
void tamper(const std::filesystem::path& from, const std::filesystem::path& to,
            const std::string& tensor, std::size_t byte) {
  const SafetensorsFile file = SafetensorsFile::open(from);
  std::vector<std::vector<std::byte>> copies;
  std::vector<SafetensorsItem> items;
  for (const std::string& name : file.names()) {
    const auto& entry = file.entry(name);
    auto& copy = copies.emplace_back(entry.bytes.begin(), entry.bytes.end());
    if (name == tensor) copy.at(byte) ^= std::byte{0x40};
    items.push_back({name, entry.dtype, entry.shape, {}});
  }
  for (std::size_t i = 0; i < items.size(); ++i) items[i].bytes = copies[i];
  write_safetensors(to, items, {});
}

TEST_CASE("verify notices one changed number of a golden case", "[verify]") {
  const auto goldens = testing::goldens_dir();
  if (!std::filesystem::exists(goldens / "micro_e.json")) {
    WARN("skipped: there are no goldens at " << goldens);
    return;
  }
  struct Change {
    const char *name, *tensor, *reported;
  };
  const auto change =
      GENERATE(Change{"micro_e", "stage.level1.layer0.out", "stage.level1.layer0.out"},
               Change{"micro_e", "first.grad.norm.weight", "grad.norm.weight"},
               Change{"micro_e", "dLdu", "dLdu"}, Change{"loss", "s16.dLdu_f64", "s16.dLdu_f64"},
               Change{"metrics", "r16_single.ap_expected_1000", "r16_single.ap_expected_1000"},
               Change{"metrics", "r32_single.db_codes", "r32_single.hamming_u8_sha256"},
               Change{"transform", "odd.resized_cropped_u8", "odd.resized_cropped_u8"});
  CAPTURE(change.name, change.tensor);
  const testing::TemporaryFolder folder;
  const std::string name = change.name;
  std::filesystem::copy(goldens / (name + ".json"), folder / "renamed.json");
  std::filesystem::create_directory_symlink(goldens / "images", folder / "images");
  // The sixth byte of a number in either precision holds high bits of it or of its neighbour.
  tamper(goldens / (name + ".safetensors"), folder / "renamed.safetensors", change.tensor, 7);
  const Outcome outcome = run_program(folder.path(), {"verify", (folder / "renamed.json").string(),
                                                      "--failures", "--device", "cpu"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.status == 1);
  CHECK_THAT(outcome.out, Contains(change.reported));
}

}  // namespace
}  // namespace hh
