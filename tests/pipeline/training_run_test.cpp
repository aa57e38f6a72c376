// SPDX-License-Identifier: Apache-2.0
// A run as a library: it tells its listener everything and writes to no stream.
#include "pipeline/training_run.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <map>

#include "pipeline/data_source.h"
#include "tests/support/event_points.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"
#include "tests/support/tiny_data.h"

namespace hh::pipeline {
namespace {

using Catch::Contains;

/// What this process writes to its standard output and error while it lives goes to a file.
class Caught {
 public:
  explicit Caught(const std::filesystem::path& file) : file_(file) {
    std::fflush(nullptr);
    const int to = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (const int stream : {1, 2}) {
      kept_[stream] = ::dup(stream);
      ::dup2(to, stream);
    }
    ::close(to);
  }
  ~Caught() {
    std::fflush(nullptr);
    for (const auto& [stream, kept] : kept_) {
      ::dup2(kept, stream);
      ::close(kept);
    }
  }
  std::string text() const {
    std::fflush(nullptr);
    return testing::read_text(file_);
  }

 private:
  std::filesystem::path file_;
  std::map<int, int> kept_;
};

/// Everything that a listener is told.
struct Heard {
  std::vector<std::string> reports, warnings;
  std::vector<ProgressState> progress;

  Listener listener() {
    return {.report = [this](const std::string& text) { reports.push_back(text); },
            .warn = [this](const std::string& text) { warnings.push_back(text); },
            .progress = [this](const ProgressState& state) { progress.push_back(state); }};
  }
  std::string report() const {
    std::string all;
    for (const std::string& text : reports) all += text + "\n";
    return all;
  }
};

TEST_CASE("a training run tells its listener, and stops when it is told to", "[training_run]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  testing::write_text(folder / "images/red/bad.ppm", "P6\n16 16\n255\n");
  const Recipe recipe =
      Recipe::read(folder / "tiny.toml", {"train.epochs=2", "data.skip_bad=true"});
  Heard heard;
  int epochs = 0;
  bool stop = true;
  const TrainingRun::Hooks hooks{.stop = [&] { return stop; },
                                 .epoch_ended = [&](const MetricsLog&) { ++epochs; },
                                 .listener = heard.listener()};
  std::string written, summary;
  {
    const Caught caught(folder / "caught");
    const bool stopped = !TrainingRun(recipe, folder / "run", kCpu, hooks).run();
    stop = false;
    TrainingRun again = TrainingRun::resume(recipe, folder / "run", kCpu, hooks);
    const bool complete = again.run();
    summary = again.summary();
    written = caught.text() + (stopped && complete ? "" : "wrong ends");
  }
  CHECK(written == "");
  CHECK(epochs == 2);
  CHECK_THAT(heard.report(), Contains("network: ") && Contains("stopped in epoch 1 after ") &&
                                 Contains("continuing in epoch 1 after ") &&
                                 Contains("epoch   2  loss "));
  CHECK_THAT(summary, Contains("best.safetensors"));
  std::string warnings;
  for (const std::string& warning : heard.warnings) warnings += warning + "\n";
  CHECK_THAT(warnings, Contains("bad.ppm") && Contains("1 bad image skipped"));
  // Every work that begins ends, and none goes back.
  REQUIRE(!heard.progress.empty());
  CHECK(heard.progress.back().ended);
  const ProgressState* before = nullptr;
  for (const ProgressState& state : heard.progress) {
    CHECK(state.done <= state.total);
    if (before != nullptr && !before->ended) {
      CHECK(state.what == before->what);
      CHECK(state.done >= before->done);
    }
    before = &state;
  }
}

TEST_CASE("one run at a time writes to a folder", "[training_run]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  const Recipe recipe = Recipe::read(folder / "tiny.toml", {"train.epochs=1"});
  const std::filesystem::path place = folder / "run";
  {
    TrainingRun run(recipe, place, kCpu, {});
    CHECK_THROWS_AS(TrainingRun::resume(recipe, place, kCpu, {}), FolderBusy);
    CHECK_THROWS_WITH(TrainingRun::resume(recipe, place, kCpu, {}),
                      Contains(place.string()) && Contains("wait for it, or choose another"));
    CHECK(run.run());
  }
  CHECK_THROWS_AS(TrainingRun(recipe, place, kCpu, {}), std::invalid_argument);
  CHECK(TrainingRun::resume(recipe, place, kCpu, {}).run());
}

TEST_CASE("a run ends when its patience does, also where it was resumed", "[training_run]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  // Weights that don't change have the same mAP after every epoch: the first is the best.
  const auto recipe = [&](const std::string& patience) {
    return Recipe::read(folder / "tiny.toml",
                        {"train.epochs=6", "evaluate.every=1", "evaluate.patience=" + patience,
                         "schedule.learning_rate=1e-30", "optimizer.weight_decay=0"});
  };
  Heard heard;
  int epochs = 0, stop_after = 100;
  const TrainingRun::Hooks hooks{.stop = [&] { return epochs >= stop_after; },
                                 .epoch_ended = [&](const MetricsLog&) { ++epochs; },
                                 .listener = heard.listener()};
  CHECK(TrainingRun(recipe("2"), folder / "whole", kCpu, hooks).run());
  CHECK(epochs == 3);
  CHECK_THAT(heard.report(), Contains("ended early: 2 evaluations without a better held-out mAP"));
  // What is left of the whole run falls, and none is known of single works.
  double left = 1e9;
  for (const ProgressState& state : heard.progress) {
    if (!state.what.starts_with("epoch")) CHECK(state.whole == -1);
    if (state.what.starts_with("epoch 3/6") && state.whole >= 0) left = state.whole;
  }
  CHECK(left > 0);
  CHECK(left < 600);

  epochs = 0;
  stop_after = 2;
  CHECK_FALSE(TrainingRun(recipe("2"), folder / "parts", kCpu, hooks).run());
  stop_after = 100;
  CHECK(TrainingRun::resume(recipe("2"), folder / "parts", kCpu, hooks).run());
  CHECK(epochs == 3);
  CHECK(testing::read_text(folder / "parts/best.safetensors") ==
        testing::read_text(folder / "whole/best.safetensors"));
  // Ended is ended, but not for who has more patience now.
  CHECK(TrainingRun::resume(recipe("2"), folder / "parts", kCpu, hooks).run());
  CHECK(epochs == 3);
  CHECK(TrainingRun::resume(recipe("0"), folder / "parts", kCpu, hooks).run());
  CHECK(epochs == 6);
}

TEST_CASE("a run and its models find their data from anywhere", "[training_run]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe("images"));
  const Recipe recipe = Recipe::read(folder / "tiny.toml", {"train.epochs=1"});
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  TrainingRun(recipe, "run", kCpu, {}).run();
  std::filesystem::current_path(before);
  const auto path = folder / "run/last.safetensors";
  const auto model = load_model(path, kCpu, DType::f32);
  const auto queries = [&](std::vector<std::string> settings) {
    return open_source(model->info, path, {.part = "query", .settings = std::move(settings)})
        .items.size();
  };
  CHECK(queries({}) == 12);
  CHECK(TrainingRun::recipe_of(folder / "run", {}).data.path == (folder / "images").string());
  std::filesystem::rename(folder / "images", folder / "moved");
  CHECK_THROWS_WITH(queries({}),
                    Contains((folder / "images").string()) && Contains("--set data.path=FOLDER"));
  CHECK(queries({"data.path=" + (folder / "moved").string()}) == 12);
}

/// The tensors of a checkpoint; its metadata have the recipe, which names the cache.
std::map<std::string, std::vector<std::byte>> tensors_of(const std::filesystem::path& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  std::map<std::string, std::vector<std::byte>> tensors;
  for (const std::string& name : file.names()) {
    const auto bytes = file.entry(name).bytes;
    tensors[name].assign(bytes.begin(), bytes.end());
  }
  return tensors;
}

TEST_CASE("training from a cache is training from the files, bit for bit", "[training_run]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");  // 16 pixels: they are resized up, and to 8 below
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  testing::write_text(folder / "images/red/bad.ppm", "P6\n16 16\n255\n");
  const std::string cache = "data.cache=" + (folder / "cache").string();
  for (const char* size : {"model.image_size=16", "model.image_size=8"}) {
    std::vector<std::string> settings{size, "model.patch=1", "train.epochs=2",
                                      "data.skip_bad=true"};
    const auto train = [&](const char* run, Heard& heard) {
      const Recipe recipe = Recipe::read(folder / "tiny.toml", settings);
      TrainingRun(recipe, folder / (size + std::string(run)), kCpu, {.listener = heard.listener()})
          .run();
      return tensors_of(folder / (size + std::string(run)) / "last.safetensors");
    };
    Heard plain, first, second;
    const auto wanted = train("plain", plain);
    settings.push_back(cache);
    CHECK(train("first", first) == wanted);
    CHECK(train("second", second) == wanted);
    CHECK_THAT(plain.report(), !Contains("cache "));
    CHECK_THAT(first.report(), Contains("60 of 61 image files") && Contains("61 decoded now"));
    CHECK_THAT(second.report(), Contains("60 of 61 image files") && Contains("0 decoded now"));
  }
}

TEST_CASE("paths of lists start from where the run was started", "[recipe]") {
  const auto root = [](std::vector<std::string> settings) {
    return Recipe::parse("", "", settings).with_absolute_paths().data.image_root;
  };
  const std::string here = std::filesystem::current_path().string();
  CHECK(root({"data.protocol=lists", "data.path=lists"}) == here);
  CHECK(root({"data.protocol=coco", "data.image_root=photos"}) == here + "/photos");
  CHECK(root({"data.protocol=folder"}).empty());
}

TEST_CASE("TensorBoard's points of a killed and resumed run are there once", "[training_run]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  const auto recipe = [&](const char* minutes) {
    return Recipe::read(folder / "tiny.toml",
                        {"train.epochs=3", "train.batch=1", "train.accumulate=1",
                         "evaluate.every=1", std::string("train.checkpoint_minutes=") + minutes});
  };
  const auto copy = [&](const char* to) { std::filesystem::copy(folder / "run", folder / to); };
  // What kill -9 leaves, of two moments: within an epoch, with a checkpoint after every step; and
  // at an epoch's end, when its points are written and its checkpoint isn't.
  int asked = 0, epochs = 0;
  const TrainingRun::Hooks hooks{.stop =
                                     [&] {
                                       if (++asked == 65) copy("within");
                                       return false;
                                     },
                                 .epoch_ended =
                                     [&](const MetricsLog&) {
                                       if (++epochs == 2) copy("end");
                                     }};
  TrainingRun(recipe("1e-9"), folder / "run", kCpu, hooks).run();
  const auto whole = testing::event_points(folder / "run");
  REQUIRE(whole.at("batch_loss").size() == 13);  // of 42 steps an epoch: 1, 11, ... 121
  REQUIRE(whole.at("loss").size() == 3);
  for (const char* killed : {"within", "end"}) {
    CAPTURE(killed);
    TrainingRun::resume(recipe("0"), folder / killed, kCpu, {}).run();
    auto points = testing::event_points(folder / killed);
    REQUIRE(points.size() == whole.size());
    for (const auto& [tag, expected] : whole) {
      CAPTURE(tag);
      if (tag != "images_per_second") CHECK(points[tag] == expected);
      CHECK(points[tag].size() == expected.size());
    }
  }
}

}  // namespace
}  // namespace hh::pipeline
