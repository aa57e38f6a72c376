// SPDX-License-Identifier: Apache-2.0
// train, as a user runs it: stopped, killed and resumed runs end where an undisturbed one does.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "engine/files/safetensors.h"
#include "tests/apps/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {

using Catch::Contains;
using testing::run_program, testing::Outcome, testing::Program, testing::read_text;

/// Names, types, shapes and bytes of all tensors: what must be equal in two checkpoints (their
/// metadata also holds times).
std::vector<std::string> tensors_of(const std::filesystem::path& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  std::vector<std::string> tensors;
  for (const std::string& name : file.names()) {
    const auto& entry = file.entry(name);
    std::string text = name + " " + entry.dtype;
    for (const auto n : entry.shape) text += " " + std::to_string(n);
    text.append(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size());
    tensors.push_back(std::move(text));
  }
  return tensors;
}

/// metrics.csv without the columns that hold times: images_per_s and seconds.
std::vector<std::string> untimed_metrics(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    std::vector<std::string> cells(1);
    for (const char c : line) {
      if (c == ',') {
        cells.emplace_back();
      } else {
        cells.back() += c;
      }
    }
    REQUIRE(cells.size() == 8);
    cells[4] = cells[5] = "";
    std::string kept;
    for (const std::string& cell : cells) kept += cell + ",";
    lines.push_back(kept);
  }
  return lines;
}

std::int64_t lines_of(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  return std::count(text.begin(), text.end(), '\n');
}

/// Images and recipe, shared by the tests.
class TinyProject {
 public:
  TinyProject() {
    testing::make_tiny_images(folder / "images");
    testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  std::vector<std::string> train(const std::string& out,
                                 const std::vector<std::string>& settings = {}) const {
    std::vector<std::string> words{"train",   path("tiny.toml"), "--out",
                                   path(out), "--device",        "cpu"};
    for (const std::string& setting : settings) {
      words.push_back("--set");
      words.push_back(setting);
    }
    return words;
  }
  Outcome run(const std::vector<std::string>& words) const {
    return run_program(folder.path(), words);
  }

  testing::TemporaryFolder folder;
};

TEST_CASE("train leaves a complete run folder", "[train]") {
  const TinyProject project;
  const Outcome outcome = project.run(project.train("run"));
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK_THAT(outcome.out, Contains("best.safetensors") && Contains("epoch   4"));
  for (const char* file :
       {"recipe.toml", "split.json", "metrics.csv", "last.safetensors", "best.safetensors",
        "best_by_query.safetensors", "loss.svg", "map.svg"}) {
    CAPTURE(file);
    CHECK(std::filesystem::exists(project.folder / "run" / file));
  }
  CHECK(lines_of(project.folder / "run/metrics.csv") == 5);
  const Outcome info =
      project.run({"info", project.path("run"), project.path("run/best.safetensors"),
                   project.path("run/last.safetensors")});
  CHECK(info.status == 0);
  CHECK_THAT(info.out, Contains("4 of 4 done") && Contains("trained model") &&
                           Contains("checkpoint") && Contains("blue, green, red") &&
                           Contains("shorter side to 18, the middle 16 x 16"));

  SECTION("a second run there is refused, a resumed one has nothing to do") {
    const Outcome again = project.run(project.train("run"));
    CHECK(again.status == 2);
    CHECK_THAT(again.err, Contains("already holds a run"));
    const Outcome resumed = project.run({"train", "--resume", project.path("run")});
    CHECK(resumed.status == 0);
    CHECK_THAT(resumed.out + resumed.err, Contains("complete already: 4 of 4 epochs"));
    CHECK(lines_of(project.folder / "run/metrics.csv") == 5);
  }
  SECTION("another seed gives other weights, the same seed the same file") {
    REQUIRE(project.run(project.train("same")).status == 0);
    REQUIRE(project.run(project.train("other", {"train.seed=4"})).status == 0);
    const std::string best = read_text(project.folder / "run/best.safetensors");
    CHECK((read_text(project.folder / "same/best.safetensors") == best));
    CHECK(tensors_of(project.folder / "same/last.safetensors") ==
          tensors_of(project.folder / "run/last.safetensors"));
    CHECK(tensors_of(project.folder / "other/last.safetensors") !=
          tensors_of(project.folder / "run/last.safetensors"));
  }
  SECTION("workers change nothing") {
    REQUIRE(project.run(project.train("workers", {"data.workers=0"})).status == 0);
    CHECK(tensors_of(project.folder / "workers/last.safetensors") ==
          tensors_of(project.folder / "run/last.safetensors"));
  }
}

/// The mean training loss of each epoch.
std::vector<double> losses(const std::filesystem::path& metrics) {
  std::ifstream file(metrics);
  std::vector<double> values;
  std::string line;
  std::getline(file, line);
  REQUIRE_THAT(line, Catch::StartsWith("epoch,steps,loss,"));
  while (std::getline(file, line)) {
    const std::size_t steps = line.find(',') + 1;
    values.push_back(std::stod(line.substr(line.find(',', steps) + 1)));
  }
  return values;
}

TEST_CASE("training on each device follows the CPU's loss", "[train][devices]") {
  const char* devices = std::getenv("HH_TEST_DEVICES");
  if (devices == nullptr || std::string(devices).find("cuda") == std::string::npos) {
    WARN("no GPU to compare with: set HH_TEST_DEVICES=cuda");
    return;
  }
  const TinyProject project;
  REQUIRE(project.run(project.train("cpu")).status == 0);
  const std::vector<double> expected = losses(project.folder / "cpu/metrics.csv");
  REQUIRE(expected.size() == 4);
  // Roundings differ from the first step on, and twenty steps of Adam enlarge them. In 16 bits
  // those of gradients that should vanish exceed Adam's eps, so it takes whole steps by them: in
  // f16 as in bf16, although f16 rounds activations less.
  const auto [dtype, tolerance] =
      GENERATE(table<const char*, double>({{"f32", 1e-3}, {"bf16", 6e-2}, {"f16", 6e-2}}));
  CAPTURE(dtype);
  std::vector<std::string> words =
      project.train("cuda", {std::string("train.dtype=\"") + dtype + "\""});
  *std::find(words.begin(), words.end(), "cpu") = "cuda";
  words[3] = project.path("cuda");
  const Outcome outcome = project.run(words);
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  const std::vector<double> got = losses(project.folder / "cuda/metrics.csv");
  REQUIRE(got.size() == expected.size());
  for (std::size_t epoch = 0; epoch < got.size(); ++epoch) {
    CAPTURE(epoch, got[epoch], expected[epoch]);
    CHECK(std::abs(got[epoch] - expected[epoch]) <= tolerance * expected[epoch]);
  }
}

TEST_CASE("a stopped, killed and resumed run ends bit for bit as an undisturbed one", "[train]") {
  const TinyProject project;
  // Long enough to be hit in the middle, whatever the machine.
  const std::vector<std::string> settings{"train.epochs=60", "evaluate.every=15"};
  REQUIRE(project.run(project.train("whole", settings)).status == 0);

  const auto metrics = project.folder / "cut/metrics.csv";
  {
    Program program(project.folder.path(), project.train("cut", settings));
    REQUIRE(testing::wait_for([&] { return lines_of(metrics) > 5 || !program.running(); }));
    program.signal(SIGINT);
    CHECK(program.wait() == 128 + SIGINT);  // a script must not take it for done
    REQUIRE_THAT(program.out(), Contains("stopped in epoch") &&
                                    Contains("continue with: hybridhash train --resume"));
  }
  const std::vector<std::string> resume{"train", "--resume", project.path("cut"), "--device",
                                        "cpu"};
  const std::int64_t before = lines_of(metrics);
  REQUIRE(before < 50);
  {
    Program program(project.folder.path(), resume);
    REQUIRE(
        testing::wait_for([&] { return lines_of(metrics) > before + 5 || !program.running(); }));
    REQUIRE(program.running());
    program.signal(SIGKILL);
    CHECK(program.wait() == 128 + SIGKILL);
  }
  // What a killed run leaves can be used as it is.
  CHECK(project.run({"info", project.path("cut"), project.path("cut/last.safetensors")}).status ==
        0);
  const Outcome encoded = project.run({"encode", "--model", project.path("cut/last.safetensors"),
                                       "--part", "query", "--out", project.path("q.codes")});
  INFO(encoded.err);
  CHECK(encoded.status == 0);

  const Outcome rest = project.run(resume);
  INFO(rest.err);
  REQUIRE(rest.status == 0);
  CHECK(untimed_metrics(metrics) == untimed_metrics(project.folder / "whole/metrics.csv"));
  CHECK(tensors_of(project.folder / "cut/last.safetensors") ==
        tensors_of(project.folder / "whole/last.safetensors"));
  for (const char* file : {"best.safetensors", "best_by_query.safetensors"}) {
    CAPTURE(file);
    CHECK((read_text(project.folder / "cut" / file) == read_text(project.folder / "whole" / file)));
  }
}

TEST_CASE("a run killed at once can be started or resumed", "[train]") {
  const TinyProject project;
  {
    Program program(project.folder.path(), project.train("run"));
    testing::wait_for([&] {
      return std::filesystem::exists(project.folder / "run/recipe.toml") || !program.running();
    });
    program.signal(SIGKILL);
    program.wait();
  }
  REQUIRE(std::filesystem::exists(project.folder / "run/recipe.toml"));
  CHECK(project.run({"train", "--resume", project.path("run"), "--device", "cpu"}).status == 0);
}

TEST_CASE("weights of another run are where training starts", "[train]") {
  const TinyProject project;
  REQUIRE(project.run(project.train("first", {"train.epochs=1"})).status == 0);
  const std::string weights = project.path("first/best.safetensors");
  const auto start = [&](const std::string& out, std::vector<std::string> settings) {
    settings.insert(settings.end(), {"train.epochs=1", "train.weights=\"" + weights + "\""});
    return project.run(project.train(out, settings));
  };
  const Outcome outcome = start("second", {});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK_THAT(outcome.out, Contains("parameters loaded"));

  SECTION("tensors of other networks are reported, FcLayer is accepted, the rest stays initial") {
    const SafetensorsFile file = SafetensorsFile::open(weights);
    std::vector<SafetensorsItem> items;
    for (const std::string& name : file.names()) {
      if (name == "hashlayer_train.conv2.bias") continue;
      const auto& entry = file.entry(name);
      items.push_back({name, entry.dtype, entry.shape, entry.bytes});
    }
    const std::vector<float> extra(16, 1.0f);
    items.push_back({"FcLayer.bias", "F32", {16}, std::as_bytes(std::span(extra))});
    items.push_back({"head.bias", "F32", {16}, std::as_bytes(std::span(extra))});
    write_safetensors(project.folder / "partial.safetensors", items, {});
    const Outcome partial = project.run(project.train(
        "partial",
        {"train.epochs=1", "train.weights=\"" + project.path("partial.safetensors") + "\""}));
    INFO(partial.err);
    REQUIRE(partial.status == 0);
    CHECK_THAT(partial.out, Contains("left at their initial values: hashlayer_train.conv2.bias") &&
                                Contains("not in this network: head.bias") &&
                                Contains("never uses it: FcLayer.bias"));
  }
  SECTION("another shape is an error that says both") {
    const Outcome other = start("other", {"model.bits=32"});
    CHECK(other.status == 2);
    CHECK_THAT(other.err, Contains("hashlayer_train.conv2.weight is [16, ") && Contains("[32, "));
  }
}

TEST_CASE("checkpoints that are cut, changed or of another run are refused", "[train]") {
  const TinyProject project;
  REQUIRE(project.run(project.train("run", {"train.epochs=1"})).status == 0);
  const auto path = project.folder / "run/last.safetensors";
  const std::string good = read_text(path);
  const auto resume = [&](const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{
        "train", "--resume", project.path("run"), "--set", "train.epochs=2", "--device", "cpu"};
    words.insert(words.end(), more.begin(), more.end());
    return project.run(words);
  };
  const auto refused = [&](const Outcome& outcome, const std::string& reason) {
    INFO(outcome.err);
    CHECK(outcome.status == 2);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CHECK_THAT(outcome.err, Contains(reason));
  };
  for (const double share : {0.0, 0.001, 0.5, 0.999}) {
    testing::write_text(path, good.substr(0, std::size_t(double(good.size()) * share)));
    refused(resume(), "last.safetensors");
  }
  std::string changed = good;
  const auto replace = [&](const std::string& from, const std::string& to) {
    changed = good;
    const auto at = changed.find(from);
    REQUIRE(at != std::string::npos);
    REQUIRE(from.size() == to.size());
    changed.replace(at, from.size(), to);
    testing::write_text(path, changed);
  };
  replace("hybridhash checkpoint 1", "hybridhash checkpoint 9");
  refused(resume(), "checkpoint 9");
  replace("optimizer.square", "optimizer.sqware");
  refused(resume(), "optimizer.square");
  replace("\\\"epoch\\\":1", "\\\"epoch\\\":x");
  refused(resume(), "position");
  testing::write_text(path, good);
  refused(resume({"--set", "model.bits=32"}), "another network");
  refused(resume({"--set", "optimizer.kind=sgd"}), "optimizer.momentum");
  refused(resume({"--set", "train.bank_dtype=f32"}), "bank.codes");
  CHECK(resume().status == 0);
}

TEST_CASE("a run whose images changed is refused, or goes on with what is there", "[train]") {
  const TinyProject project;
  REQUIRE(project.run(project.train("run", {"train.epochs=2"})).status == 0);
  const auto queries = [&](const std::string& file) {
    const Outcome built =
        project.run({"index", "build", "--model", project.path("run/best.safetensors"), "--part",
                     "query", "--out", project.path("q.index"), "--overwrite", "--device", "cpu",
                     "--allow-changed-data"});
    INFO(built.err);
    REQUIRE(built.status == 0);
    REQUIRE(project.run({"index", "export", project.path("q.index"), "--out", project.path(file)})
                .status == 0);
    return read_text(project.path(file));
  };
  const std::string before = queries("before.csv");
  // One image out and one in: as many as before, each at another place.
  std::filesystem::copy_file(project.path("images/blue/100.ppm"),
                             project.path("images/blue/000.ppm"));
  std::filesystem::remove(project.path("images/red/119.ppm"));
  const std::vector<std::string> resume{"train", "--resume", project.path("run"), "--device",
                                        "cpu",   "--set",    "train.epochs=3"};
  const Outcome refused = project.run(resume);
  CHECK(refused.status == 2);
  CHECK_THAT(refused.err, Contains("1 image (red/119.ppm) gone") &&
                              Contains("1 image (blue/000.ppm) new") &&
                              Contains("--allow-changed-data"));
  std::vector<std::string> allowed = resume;
  allowed.push_back("--allow-changed-data");
  const Outcome gone_on = project.run(allowed);
  INFO(gone_on.err);
  CHECK(gone_on.status == 0);
  CHECK_THAT(gone_on.out, Contains("going on with what is still there"));
  // The queries are the images that they were.
  const auto names = [](const std::string& csv) {
    std::vector<std::string> found;
    for (std::size_t at = csv.find(".ppm"); at != std::string::npos;
         at = csv.find(".ppm", at + 1)) {
      found.push_back(csv.substr(at - 8, 12));
    }
    return found;
  };
  const auto old_names = names(before), new_names = names(queries("after.csv"));
  REQUIRE(old_names.size() == 12);
  for (const std::string& name : new_names) {
    CHECK(std::find(old_names.begin(), old_names.end(), name) != old_names.end());
  }
  CHECK(new_names.size() >= 11);
}

TEST_CASE("files exchanged under their names are noticed by every command", "[train]") {
  const TinyProject project;
  const auto file = [&](const char* name) { return project.folder / "images" / name; };
  // A comment makes each file of a size of its own.
  int more = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(project.folder / "images")) {
    if (!entry.is_regular_file()) continue;
    std::string text = read_text(entry.path());
    testing::write_text(entry.path(),
                        text.insert(3, "#" + std::string(std::size_t(++more), ' ') + "\n"));
  }
  REQUIRE(project.run(project.train("run", {"train.epochs=1"})).status == 0);
  std::filesystem::rename(file("red/100.ppm"), file("kept"));
  std::filesystem::rename(file("red/101.ppm"), file("red/100.ppm"));
  std::filesystem::rename(file("kept"), file("red/101.ppm"));
  const std::string model = project.path("run/best.safetensors");
  const std::vector<std::vector<std::string>> commands{
      {"train", "--resume", project.path("run"), "--device", "cpu", "--set", "train.epochs=2"},
      {"eval", "--run", project.path("run"), "--out", project.path("e"), "--device", "cpu"},
      {"encode", "--model", model, "--part", "all", "--out", project.path("c"), "--device", "cpu"}};
  for (std::vector<std::string> command : commands) {
    const Outcome refused = project.run(command);
    INFO(refused.err);
    CHECK(refused.status == 2);
    CHECK_THAT(refused.err,
               Contains("2 images aren't the files that they were: red/100.ppm (was ") &&
                   Contains("--allow-changed-data"));
    command.push_back("--allow-changed-data");
    CHECK(project.run(command).status == 0);
  }
}

TEST_CASE("codes of 12, 20 and 100 bits go all the way", "[train]") {
  const std::string bits = GENERATE("1", "12", "20", "100");
  const TinyProject project;
  const std::string model = project.path("run/best.safetensors");
  const auto run = [&](const std::vector<std::string>& words) {
    const Outcome outcome = project.run(words);
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
    return outcome.out;
  };
  run(project.train("run", {"train.epochs=1", "model.bits=" + bits}));
  for (const char* part : {"query", "database"}) {
    run({"encode", "--model", model, "--part", part, "--out", project.path(part) + ".codes",
         "--device", "cpu"});
  }
  run({"eval", "--queries", project.path("query.codes"), "--database",
       project.path("database.codes"), "--out", project.path("report")});
  run({"index", "build", "--codes", project.path("database.codes"), "--out",
       project.path("d.index")});
  CHECK_THAT(run({"info", project.path("d.index")}), Contains(bits));
  const auto found = [&](const std::string& method) {
    const std::string text = run({"search", "--index", project.path("d.index"), "--codes",
                                  project.path("query.codes"), "-k", "5", "--method", method});
    return text.substr(0, text.find(" queries in "));  // the rest is the method and its time
  };
  CHECK(found("scan") == found("multi-index"));
  // Exported codes come back as they were.
  run({"index", "export", project.path("d.index"), "--out", project.path("d.csv")});
  run({"index", "export", project.path("d.index"), "--out", project.path("d.codes")});
  run({"index", "build", "--codes", project.path("d.codes"), "--out", project.path("e.index")});
  run({"index", "export", project.path("e.index"), "--out", project.path("e.csv")});
  CHECK(read_text(project.path("d.csv")).size() == read_text(project.path("e.csv")).size());
}

}  // namespace
}  // namespace hh
