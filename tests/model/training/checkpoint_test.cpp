// SPDX-License-Identifier: Apache-2.0
// Weights and whole states from files: what is taken, what is left, what is refused. That a resumed
// run goes on bit for bit: trainer_test.cpp, tests/apps/commands/train_test.cpp.
#include "model/training/checkpoint.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <span>

#include "tests/support/temporary_folder.h"

namespace hh {
namespace {

using Catch::Contains;
using Names = std::vector<std::string>;

/// Items of a file, with the bytes behind them.
struct Items {
  std::vector<SafetensorsItem> items;
  std::vector<std::vector<std::byte>> store;

  void add(const std::string& name, const std::string& dtype, std::vector<std::int64_t> shape,
           std::span<const std::byte> bytes) {
    const auto& kept = store.emplace_back(bytes.begin(), bytes.end());
    items.push_back({name, dtype, std::move(shape), kept});
  }
  void add(const std::string& name, std::vector<std::int64_t> shape,
           const std::vector<float>& values) {
    add(name, "F32", std::move(shape), std::as_bytes(std::span(values)));
  }
};

struct Network {
  Parameters parameters;
  const Parameter& a = parameters.add("a.weight", {2, 3}, Initialisation::kNormal);
  const Parameter& b = parameters.add("b.bias", {3}, Initialisation::kZero);
  Network() { parameters.place(kCpu, DType::f32, /*trainable=*/false); }
};

LoadReport load(const Items& items, Network& network, Loading loading) {
  const testing::TemporaryFolder folder;
  const auto path = folder / "weights.safetensors";
  write_safetensors(path, items.items, {});
  return load_weights(SafetensorsFile::open(path), "weights.safetensors", network.parameters,
                      loading);
}

const std::vector<float> kA{1, 2, 3, 4, 5, 6}, kB{7, 8, 9};

TEST_CASE("strict loading takes every parameter, and what the reference has besides",
          "[load_weights]") {
  Items items;
  items.add("a.weight", {2, 3}, kA);
  items.add("b.bias", {3}, kB);
  items.add("FcLayer.0.weight", {1}, {1});
  items.add("optimizer.square.a.weight", {2, 3}, kA);
  items.add("bank.codes", {1, 3}, kB);
  Network network;
  const LoadReport report = load(items, network, Loading::kStrict);
  CHECK(network.a.weight().to_host<float>() == kA);
  CHECK(network.b.weight().to_host<float>() == kB);
  CHECK(report.loaded == Names{"a.weight", "b.bias"});
  CHECK(report.unused == Names{"FcLayer.0.weight"});
  CHECK(report.missing.empty());
  CHECK(report.ignored.empty());
  CHECK_THAT(report.summary(),
             Contains("2 of 2 parameters loaded") && Contains("FcLayer.0.weight"));
}

TEST_CASE("strict loading names what is missing and what isn't ours", "[load_weights]") {
  Items few, many;
  few.add("a.weight", {2, 3}, kA);
  many.add("a.weight", {2, 3}, kA);
  many.add("b.bias", {3}, kB);
  many.add("head.weight", {3}, kB);
  Network network;
  CHECK_THROWS_WITH(load(few, network, Loading::kStrict), Contains("missing: b.bias"));
  CHECK_THROWS_WITH(load(many, network, Loading::kStrict), Contains("head.weight"));
}

TEST_CASE("partial loading takes what both have and leaves the rest", "[load_weights]") {
  Items items, strangers, other;
  items.add("a.weight", {2, 3}, kA);
  items.add("head.weight", {3}, kB);
  Network network;
  network.parameters.set(network.b, kB);
  const LoadReport report = load(items, network, Loading::kPartial);
  CHECK(network.a.weight().to_host<float>() == kA);
  CHECK(network.b.weight().to_host<float>() == kB);
  CHECK(report.missing == Names{"b.bias"});
  CHECK(report.ignored == Names{"head.weight"});
  CHECK_THAT(report.summary(), Contains("1 of 2") && Contains("b.bias") && Contains("head.weight"));

  strangers.add("head.weight", {3}, kB);
  CHECK_THROWS_WITH(load(strangers, network, Loading::kPartial),
                    Contains("none of its tensors") && Contains("head.weight"));
  other.add("a.weight", {3, 2}, kA);
  CHECK_THROWS_WITH(load(other, network, Loading::kPartial),
                    Contains("a.weight is [3, 2] there and [2, 3] here"));
}

TrainerConfig tiny() {
  TrainerConfig config;
  config.model.image_size = 16;
  config.model.patch = 2;
  config.model.dims = {8, 16, 16};
  config.model.heads = {1, 2, 2};
  config.model.depths = {1, 1, 1};
  config.model.bits = 16;
  config.bank_rows = 5;
  config.classes = 3;
  config.seed = 5;
  return config;
}

/// The checkpoint of a trainer whose bank has labels 1, 2, 4, 1, 2, rewritten by `change`.
void write_changed(const std::filesystem::path& path,
                   const std::function<void(std::vector<SafetensorsItem>&, Metadata&)>& change) {
  Trainer trainer(tiny(), kCpu);
  trainer.parameters().initialise(1);
  const std::vector<std::uint64_t> labels{1, 2, 4, 1, 2};
  trainer.bank().view().labels.copy_from(std::span(labels));
  save_checkpoint(path, trainer, {{"epoch", "3"}});
  std::vector<SafetensorsItem> items;
  Metadata metadata;
  {
    const SafetensorsFile file = SafetensorsFile::open(path);
    metadata = file.metadata();
    for (const std::string& name : file.names()) {
      const auto& entry = file.entry(name);
      items.push_back({name, entry.dtype, entry.shape, entry.bytes});
    }
    change(items, metadata);
    write_safetensors(path, items, metadata);
  }
}

SafetensorsItem& item(std::vector<SafetensorsItem>& items, const std::string& name) {
  return *std::find_if(items.begin(), items.end(), [&](const auto& i) { return i.name == name; });
}

TEST_CASE("a checkpoint gives back weights, steps, bank and what the caller added",
          "[checkpoint]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "c.safetensors";
  // Labels of older checkpoints are I64.
  const std::string type = GENERATE("U64", "I64");
  CAPTURE(type);
  write_changed(path, [&](auto& items, auto&) {
    CHECK(item(items, "bank.labels").dtype == "U64");
    item(items, "bank.labels").dtype = type;
  });
  Trainer first(tiny(), kCpu), second(tiny(), kCpu);
  first.parameters().initialise(1);
  const Metadata metadata = load_checkpoint(path, second);
  CHECK(metadata.at("epoch") == "3");
  CHECK(metadata.at("format") == kCheckpointFormat);
  CHECK(second.parameters().flat_weights().to_host<float>() ==
        first.parameters().flat_weights().to_host<float>());
  CHECK(second.bank().view().labels.to_host<std::uint64_t>() ==
        std::vector<std::uint64_t>{1, 2, 4, 1, 2});
}

TEST_CASE("a bank takes the rows of a checkpoint that it is told", "[checkpoint]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "c.safetensors";
  write_changed(path, [](auto&, auto&) {});
  TrainerConfig config = tiny();
  config.bank_rows = 2;
  Trainer trainer(config, kCpu);
  load_checkpoint(path, trainer, std::vector<std::int64_t>{1, 2});
  CHECK(trainer.bank().view().labels.to_host<std::uint64_t>() == std::vector<std::uint64_t>{2, 4});
  CHECK_THROWS_WITH(load_checkpoint(path, trainer, std::vector<std::int64_t>{1, 5}),
                    Contains("bank.codes"));
  CHECK_THROWS_WITH(load_checkpoint(path, trainer), Contains("bank.codes"));
}

TEST_CASE("a checkpoint of another run, or a spoiled one, is named and refused", "[checkpoint]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "c.safetensors";
  Trainer trainer(tiny(), kCpu);
  const auto refuses = [&](const std::function<void(std::vector<SafetensorsItem>&, Metadata&)>& f,
                           const char* what) {
    write_changed(path, f);
    CHECK_THROWS_WITH(load_checkpoint(path, trainer), Contains(what) && Contains("c.safetensors"));
  };
  refuses([](auto&, auto& m) { m.erase("format"); }, "not a checkpoint");
  refuses([](auto&, auto& m) { m["format"] = "hybridhash checkpoint 9"; }, "checkpoint 9");
  refuses([](auto&, auto& m) { m["config"] = "{}"; }, "model config");
  refuses([](auto&, auto& m) { m["seed"] = "6"; }, "its seed is 6; this run's is 5");
  refuses([](auto&, auto& m) { m["classes"] = "4"; }, "its classes is 4");
  refuses([](auto&, auto& m) { m["steps"] = "-2"; }, "'-2', not a whole number");
  refuses([](auto&, auto& m) { m["steps"] = "1e3"; }, "'1e3', not a whole number");
  refuses([](auto& items, auto&) { item(items, "bank.codes").name = "bank.other"; }, "bank.codes");
  refuses([](auto& items, auto&) { item(items, "bank.codes").shape = {16, 5}; }, "[16, 5]");
  refuses(
      [](auto&, auto& m) {
        HybridHashConfig other = tiny().model;
        other.bits = 32;
        m["config"] = to_json(other);
      },
      "of another network");
}

}  // namespace
}  // namespace hh
