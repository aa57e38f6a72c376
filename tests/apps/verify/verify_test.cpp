// SPDX-License-Identifier: Apache-2.0
// verify: exit status, table and lines, on cases made here and on changed copies of the goldens.
#include <stdlib.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <nlohmann/json.hpp>

#include "apps/verify/golden_folders.h"
#include "engine/files/safetensors.h"
#include "model/training/generator.h"
#include "tests/apps/program.h"
#include "tests/support/goldens.h"
#include "tests/support/temporary_folder.h"

namespace hh {
namespace {

using Catch::Contains;
using testing::Outcome, testing::run_program;

/// A transform case NAME: an image of one colour, which stays that colour.
void write_flat_case(const std::filesystem::path& folder, std::uint8_t expected,
                     const std::string& name = "flat") {
  const std::vector<std::uint8_t> image(20 * 30 * 3, 77), cropped(224 * 224 * 3, expected);
  write_safetensors(
      folder / (name + ".safetensors"),
      {{"grey.rgb", "U8", {20, 30, 3}, std::as_bytes(std::span(image))},
       {"grey.resized_cropped_u8", "U8", {224, 224, 3}, std::as_bytes(std::span(cropped))}},
      {});
  testing::write_text(
      folder / (name + ".json"),
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

std::vector<std::string> names_of(const std::vector<apps::FoundCase>& cases) {
  std::vector<std::string> names;
  for (const apps::FoundCase& found : cases) names.push_back(found.path.stem().string());
  return names;
}

TEST_CASE("every reference case of the tree is found, of every kind", "[verify][goldens]") {
  using apps::CaseKind;
  const auto cases = apps::find_cases({testing::goldens_dir()});
  CHECK(names_of(cases) == std::vector<std::string>{"full224", "loss_small", "metrics", "micro_c",
                                                    "micro_e", "transform"});
  const CaseKind kinds[] = {CaseKind::kFullNetwork, CaseKind::kLoss,    CaseKind::kMetrics,
                            CaseKind::kNetwork,     CaseKind::kNetwork, CaseKind::kTransform};
  for (std::size_t i = 0; i < cases.size() && i < std::size(kinds); ++i) {
    CAPTURE(cases[i].path);
    CHECK(cases[i].kind == kinds[i]);
    CHECK(std::filesystem::exists(apps::GoldenCase{cases[i].path}.sibling(".safetensors")));
  }
}

TEST_CASE("the program's own cases are looked for beside it, then in its tree", "[verify]") {
  const testing::TemporaryFolder folder;
  const auto make = [&](const std::string& name) {
    std::filesystem::create_directory(folder / name);
    return folder / name;
  };
  using Paths = std::vector<std::filesystem::path>;
  apps::GoldenPlaces places{folder / "installed", folder / "beside", folder / "source", ""};
  CHECK_THROWS_WITH(apps::golden_folders(places),
                    Contains(places.installed.string()) && Contains(places.beside.string()) &&
                        Contains(places.source.string()) && Contains("HH_GOLDENS"));
  make("source");
  CHECK(apps::golden_folders(places) == Paths{places.source});
  make("beside");
  CHECK(apps::golden_folders(places) == Paths{places.beside});
  make("installed");
  CHECK(apps::golden_folders(places) == Paths{places.installed});
  const auto more = make("more"), most = make("most");
  places.named = more.string() + "::" + most.string() + ":";
  CHECK(apps::golden_folders(places) == Paths{places.installed, more, most});
  places.named += (folder / "none").string();
  CHECK_THROWS_WITH(apps::golden_folders(places), Contains("none, which is no folder"));
}

TEST_CASE("a case that is there twice is run once, unless its tensors differ", "[verify]") {
  const testing::TemporaryFolder a, b, c;
  write_flat_case(a.path(), 77);
  write_flat_case(b.path(), 77);
  write_flat_case(c.path(), 78);
  testing::write_text(a / "notes.json", R"({"machine": {"cores": 2}})");  // no case
  testing::write_text(a / "torn.json", R"({"cases": )");
  using Names = std::vector<std::string>;
  CHECK(names_of(apps::find_cases({a.path()})) == Names{"flat", "torn"});
  CHECK(names_of(apps::find_cases({a.path(), b.path()})) == Names{"flat", "torn"});
  CHECK(names_of(apps::find_cases({a.path(), c.path()})) == Names{"flat", "torn", "flat"});
}

/// The program as it is installed, with cases of its own: few and quick ones.
struct Installed {
  testing::TemporaryFolder folder;
  std::filesystem::path program = folder / "bin/hybridhash",
                        goldens = folder / "share/hybridhash/goldens";

  Installed() {
    std::filesystem::create_directories(program.parent_path());
    std::filesystem::create_directories(goldens);
    std::filesystem::copy_file(testing::program_path(), program);
    ::unsetenv("HH_GOLDENS");
  }
  ~Installed() { ::unsetenv("HH_GOLDENS"); }
  Outcome verify(std::vector<std::string> options = {}) const {
    options.insert(options.begin(), {"verify", "--device", "cpu"});
    return testing::run_program(folder.path(), options, program);
  }
};

int lines_of(const std::string& text) { return int(std::count(text.begin(), text.end(), '\n')); }

TEST_CASE("verify without a case runs all of the program's, a line each", "[verify]") {
  const Installed installed;
  write_flat_case(installed.goldens, 77, "one");
  write_flat_case(installed.goldens, 77, "two");
  const Outcome good = installed.verify();
  INFO(good.out << good.err);
  CHECK(good.status == 0);
  CHECK(lines_of(good.out) == 3);
  CHECK_THAT(good.out, Contains("pass  one") && Contains("pass  two") &&
                           Contains("2 of 2 checks") && Contains("\n2 of 2 cases passed on cpu ("));
  CHECK_THAT(installed.verify({"--all-rows"}).out, Contains("grey.resized_cropped_u8"));
}

TEST_CASE("verify without a case says no when one of many fails", "[verify]") {
  const Installed installed;
  const testing::TemporaryFolder more;
  write_flat_case(installed.goldens, 77, "one");
  write_flat_case(more.path(), 78, "two");
  testing::write_text(more / "torn.json", "{");
  ::setenv("HH_GOLDENS", more.path().c_str(), 1);
  const std::string json = (installed.folder / "out.json").string();
  const Outcome bad = installed.verify({"--failures", "--json", json});
  INFO(bad.out << bad.err);
  CHECK(bad.status == 1);
  CHECK(bad.err.empty());
  CHECK_THAT(bad.out, Contains("pass  one") && Contains("FAIL  two") && Contains("FAIL  torn") &&
                          Contains("grey.resized_cropped_u8") &&
                          Contains("\n1 of 3 cases passed on cpu ("));
  const auto outcomes = nlohmann::json::parse(testing::read_text(json));
  CHECK(outcomes.at("passed") == false);
  REQUIRE(outcomes.at("cases").size() == 3);
  CHECK(outcomes["cases"][0].at("passed") == true);
  CHECK(outcomes["cases"][1].contains("error"));
  // Networks only: none here.
  const Outcome none = installed.verify({"--dtype", "bf16"});
  CHECK(none.status == 1);
  CHECK(lines_of(none.out) == 2);  // the torn one may be a network
  ::setenv("HH_GOLDENS", (more / "none").c_str(), 1);
  CHECK(installed.verify().status == 2);
}

/// A golden file with change(bytes) of one of its tensors.
template <class Change>
void rewrite(const std::filesystem::path& from, const std::filesystem::path& to,
             const std::string& tensor, const Change& change) {
  const SafetensorsFile file = SafetensorsFile::open(from);
  std::vector<std::vector<std::byte>> copies;
  std::vector<SafetensorsItem> items;
  for (const std::string& name : file.names()) {
    const auto& entry = file.entry(name);
    auto& copy = copies.emplace_back(entry.bytes.begin(), entry.bytes.end());
    if (name == tensor) change(copy);
    items.push_back({name, entry.dtype, entry.shape, {}});
  }
  for (std::size_t i = 0; i < items.size(); ++i) items[i].bytes = copies[i];
  write_safetensors(to, items, {});
}

/// A golden file's tensors with one value changed.
void tamper(const std::filesystem::path& from, const std::filesystem::path& to,
            const std::string& tensor, std::size_t byte) {
  rewrite(from, to, tensor, [&](auto& bytes) { bytes.at(byte) ^= std::byte{0x40}; });
}

/// Verifies case.json of the folder.
Outcome verify_steps(const testing::TemporaryFolder& folder) {
  return run_program(folder.path(),
                     {"verify", (folder / "case.json").string(), "--failures", "--device", "cpu"});
}

TEST_CASE("verify notices a wrong optimizer", "[verify]") {
  const auto goldens = testing::goldens_dir();
  const testing::TemporaryFolder folder;
  nlohmann::json json = nlohmann::json::parse(testing::read_text(goldens / "micro_e.json"));
  const auto [setting, factor] = GENERATE(table<std::string, double>({{"lr", 1.002}, {"wd", 3.0}}));
  CAPTURE(setting, factor);
  json["config"][setting] = json["config"][setting].get<double>() * factor;
  testing::write_text(folder / "case.json", json.dump());
  std::filesystem::copy(goldens / "micro_e.safetensors", folder / "case.safetensors");
  const Outcome outcome = verify_steps(folder);
  INFO(outcome.out << outcome.err);
  CHECK(outcome.status == 1);
  CHECK_THAT(outcome.out, Contains("step1.") && Contains("step5."));
}

TEST_CASE("verify notices one step into the wrong direction", "[verify]") {
  const auto goldens = testing::goldens_dir();
  const testing::TemporaryFolder folder;
  const std::string name = "levels.0.transformer_encoder.0.mlp.fc1.weight";
  const SafetensorsFile file = SafetensorsFile::open(goldens / "micro_e.safetensors");
  // Of the first elements, that with the largest gradient: its direction is beyond doubt.
  const std::vector<double> gradient = file.to_doubles("first.grad." + name);
  const auto element =
      std::size_t(std::max_element(gradient.begin(), gradient.end(),
                                   [](double a, double b) { return std::abs(a) < std::abs(b); }) -
                  gradient.begin());
  const auto seed = nlohmann::json::parse(testing::read_text(goldens / "micro_e.json"))
                        .at("config")
                        .at("seed")
                        .get<std::uint64_t>();
  const double before = generated_weights(name, {128, 32}, seed).at(element);
  const std::string stepped = "first.step1." + name;
  const double after = file.to_doubles(stepped).at(element);
  REQUIRE(std::abs(after - before) == Approx(2.5e-4).epsilon(1e-3));
  rewrite(goldens / "micro_e.safetensors", folder / "case.safetensors", stepped, [&](auto& bytes) {
    REQUIRE(file.entry(stepped).dtype == "F32");
    const auto wrong = float(2 * before - after);
    std::memcpy(bytes.data() + element * sizeof wrong, &wrong, sizeof wrong);
  });
  std::filesystem::copy(goldens / "micro_e.json", folder / "case.json");
  const Outcome outcome = verify_steps(folder);
  INFO(outcome.out << outcome.err);
  CHECK(outcome.status == 1);
  CHECK_THAT(outcome.out, Contains("step1." + name));
}

TEST_CASE("verify notices one changed number of a golden case", "[verify]") {
  const auto goldens = testing::goldens_dir();
  struct Change {
    const char *name, *tensor, *reported;
  };
  const auto change = GENERATE(
      Change{"micro_e", "stage.level1.layer0.out", "stage.level1.layer0.out"},
      Change{"micro_e", "first.grad.norm.weight", "grad.norm.weight"},
      Change{"micro_e", "dLdu", "dLdu"}, Change{"loss_small", "s16.dLdu_f64", "s16.dLdu_f64"},
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
